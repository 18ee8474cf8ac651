"""A cluster of Kafka, as librdkafka has one for tests, which keeps what it is sent in memory.

kafka.py [CERTIFICATE KEY LOGIN]: with these, a front before each broker speaks TLS, and takes
nothing before a login by PLAIN. First the brokers are told, `HOST:PORT,...`; then each line of
standard input is an order, answered by lines and a last one, `.`:

    topic NAME PARTITIONS | deny TOPIC ERROR | down BROKER | up BROKER | fail API ERROR | read TOPIC
"""

import ctypes
import json
import socket
import ssl
import struct
import sys
import threading

import confluent_kafka

library = ctypes.CDLL("librdkafka.so.1")
for name, result, arguments in [
    ("rd_kafka_conf_new", ctypes.c_void_p, []),
    ("rd_kafka_new", ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    ("rd_kafka_mock_cluster_new", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, [ctypes.c_void_p]),
    ("rd_kafka_mock_topic_create", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    ("rd_kafka_mock_topic_set_error", None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
    ("rd_kafka_mock_broker_set_down", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    ("rd_kafka_mock_broker_set_up", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    ("rd_kafka_mock_push_request_errors_array", None, [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.c_void_p]),
]:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments

BROKERS = 3


class Front:
    """Speaks TLS before a broker, and wants to know who comes."""

    def __init__(self, broker, context, login):
        self.broker, self.context = broker, context
        self.login = b"\0" + login.replace(":", "\0").encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def serve(self, fronts):
        # Brokers tell where brokers are: behind their fronts.
        self.places = {
            b"\x00\x09127.0.0.1" + struct.pack(">i", one.broker): b"\x00\x09localhost" + struct.pack(">i", one.port)
            for one in fronts
        }
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.connection, args=[client], daemon=True).start()

    def connection(self, client):
        try:
            client = self.context.wrap_socket(client, server_side=True)
            known = False
            broker = socket.create_connection(("127.0.0.1", self.broker))
            while True:
                request = frame(client)
                api, version, number = struct.unpack(">hhi", request[:8])
                text = struct.unpack(">h", request[8:10])[0]
                body = request[10 + max(text, 0):]
                if api == 18 and version > 0:
                    # This one says it as it was said first.
                    answer = struct.pack(">ihihhh", number, 35, 1, 18, 0, 0)
                elif api == 18:
                    answer = ask(broker, request)
                    (count,) = struct.unpack(">i", answer[6:10])
                    login = struct.pack(">hhhhhh", 17, 0, 1, 36, 0, 0)
                    answer = answer[:6] + struct.pack(">i", count + 2) + answer[10:] + login
                elif api == 17:
                    answer = struct.pack(">ihih", number, 0 if body == b"\x00\x05PLAIN" else 33, 1, 5) + b"PLAIN"
                elif api == 36:
                    known = body[4:] == self.login
                    said = b"\xff\xff" if known else b"\x00\x04Nope"
                    answer = struct.pack(">ih", number, 0 if known else 58) + said + bytes(4)
                elif known:
                    answer = ask(broker, request)
                else:
                    break
                for place, front in self.places.items():
                    answer = answer.replace(place, front)
                client.sendall(struct.pack(">i", len(answer)) + answer)
        except (OSError, EOFError):
            pass
        client.close()


def frame(stream):
    (length,) = struct.unpack(">i", exactly(stream, 4))
    return exactly(stream, length)


def exactly(stream, length):
    octets = b""
    while len(octets) < length:
        more = stream.recv(length - len(octets))
        if not more:
            raise EOFError
        octets += more
    return octets


def ask(broker, request):
    broker.sendall(struct.pack(">i", len(request)) + request)
    return frame(broker)


def read(settings, topic):
    """All records of a topic, by a consumer."""
    settings = {**settings, "group.id": "readers", "enable.partition.eof": True, "auto.offset.reset": "earliest"}
    consumer = confluent_kafka.Consumer(settings)
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([confluent_kafka.TopicPartition(topic, one, 0) for one in partitions])
    ended = set()
    while len(ended) < len(partitions):
        message = consumer.poll(10)
        if message is None:
            raise TimeoutError
        if message.error() is None:
            print(json.dumps({
                "partition": message.partition(),
                "key": message.key().decode(),
                "time": message.timestamp()[1],
                "headers": {name: value.decode() for name, value in message.headers()},
                "body": message.value().decode(),
            }))
        elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        else:
            raise confluent_kafka.KafkaException(message.error())
    consumer.close()


said = ctypes.create_string_buffer(512)
client = library.rd_kafka_new(0, library.rd_kafka_conf_new(), said, 512)
cluster = library.rd_kafka_mock_cluster_new(client, BROKERS)
brokers = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
settings = {"bootstrap.servers": brokers}
if len(sys.argv) > 1:
    certificate, key, login = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    fronts = [Front(int(one.rpartition(":")[2]), context, login) for one in brokers.split(",")]
    for front in fronts:
        threading.Thread(target=front.serve, args=[fronts], daemon=True).start()
    brokers = ",".join(f"localhost:{front.port}" for front in fronts)
    # A client of others goes by the same way, so that the fronts are no fancy of ours.
    name, _, password = login.partition(":")
    settings = {
        "bootstrap.servers": brokers,
        "security.protocol": "SASL_SSL",
        "enable.ssl.certificate.verification": False,
        "sasl.mechanism": "PLAIN",
        "sasl.username": name,
        "sasl.password": password,
    }
print(brokers, flush=True)
for line in sys.stdin:
    match line.split():
        case ["topic", topic, partitions]:
            failed = library.rd_kafka_mock_topic_create(cluster, topic.encode(), int(partitions), 1)
            assert not failed, failed
        case ["deny", topic, error]:
            library.rd_kafka_mock_topic_set_error(cluster, topic.encode(), int(error))
        case ["down", broker]:
            assert not library.rd_kafka_mock_broker_set_down(cluster, int(broker))
        case ["up", broker]:
            assert not library.rd_kafka_mock_broker_set_up(cluster, int(broker))
        case ["fail", api, error]:
            errors = (ctypes.c_int * 1)(int(error))
            library.rd_kafka_mock_push_request_errors_array(cluster, int(api), 1, errors)
        case ["read", topic]:
            read(settings, topic)
        case order:
            raise ValueError(order)
    print(".", flush=True)
