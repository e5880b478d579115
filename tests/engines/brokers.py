"""Redis and RabbitMQ for the tests: those at REDIS_URL and BROKER_URL, or servers of their own."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # Debian's script in the PATH wants to be root, or rabbitmq


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(name, command, port, log, **environment):
    """Run a server until it listens, and end it afterwards."""
    with log.open("w") as output:
        process = subprocess.Popen(command, env=os.environ | environment, cwd=log.parent, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{name} did not start:\n{log.read_text()}") from None
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis(directory):
    """Yield the URL of a Redis."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    if not shutil.which("redis-server"):
        raise RuntimeError("Set REDIS_URL to a Redis whose contents may be deleted, or install redis-server.")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with server("redis-server", command, port, directory / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def rabbitmq(directory):
    """Yield the URL of a RabbitMQ."""
    if url := os.environ.get("BROKER_URL"):
        yield url
        return
    if not Path(RABBITMQ).exists():
        raise RuntimeError(
            "Set BROKER_URL to a RabbitMQ whose queues celery and eprospera may be deleted, or install rabbitmq-server."
        )
    port, names, nodes = free_port(), free_port(), free_port()
    # With a daemon of its own for the names of nodes: the one that RabbitMQ starts otherwise would stay.
    environment = {
        "HOME": str(directory), "ERL_EPMD_PORT": str(names), "RABBITMQ_NODENAME": "eprospera@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(nodes),
        "RABBITMQ_MNESIA_BASE": str(directory), "RABBITMQ_LOG_BASE": str(directory),
        "RABBITMQ_PID_FILE": str(directory / "pid"), "RABBITMQ_CONFIG_FILE": str(directory / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
    }  # fmt: skip
    with (
        server("epmd", ["epmd", "-port", str(names)], names, directory / "epmd.log"),
        server("rabbitmq-server", [RABBITMQ], port, directory / "rabbitmq.log", **environment),
    ):
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
