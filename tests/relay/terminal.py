"""Run a program at a terminal of its own, as a person: terminal.py quit|hang PROGRAM [ARGUMENT...]

quit: once it shows `node.example`, press Tab, then q. hang: close the terminal instead, with SIGHUP
ignored, as `nohup` has it. Prints what was shown; its exit code is the program's.
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

what, program, *arguments = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(program, [program, *arguments])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))

shown = b""


def until(words):
    global shown
    while words not in shown:
        try:
            more = os.read(terminal, 65536)
        except OSError:
            more = b""
        if not more:
            sys.exit(f"it ended before it showed {words}: {shown}")
        shown += more


until(b"node.example")
if what == "quit":
    os.write(terminal, b"\t")
    until(b"Clients")
    os.write(terminal, b"q")
    try:
        while more := os.read(terminal, 65536):
            shown += more
    except OSError:
        pass
else:
    os.close(terminal)
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status))
