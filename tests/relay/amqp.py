"""What is in a broker of AMQP, by pika.

amqp.py PORT declare EXCHANGE QUEUE KEY | count QUEUE | read QUEUE
"""

import json
import sys

import pika


def declare(channel, exchange, queue, key):
    channel.exchange_declare(exchange, exchange_type="topic", durable=True)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, exchange, key)


def count(channel, queue):
    print(channel.queue_declare(queue, passive=True).method.message_count)


def read(channel, queue):
    # None is acknowledged: they all go back to where they were.
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            break
        print(json.dumps({
            "key": method.routing_key,
            "id": properties.message_id,
            "kind": properties.type,
            "mode": properties.delivery_mode,
            "application": properties.app_id,
            "form": properties.content_type,
            "node": properties.headers["relay-fast-node"],
            "time": properties.timestamp,
            "body": body.decode(),
        }))


port, verb, *words = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port)))
{"declare": declare, "count": count, "read": read}[verb](connection.channel(), *words)
connection.close()
