# SPDX-License-Identifier: MIT
"""A UDP echo server for guests: counts what it received."""
import socket
import threading


class Echo:
    def __init__(self):
        self.received = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(('127.0.0.1', 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _serve(self):
        while True:
            data, sender = self.sock.recvfrom(2048)
            if not data:
                return
            self.received += 1
            try:
                self.sock.sendto(data, sender)
            except OSError:
                pass    # the sender is gone: a QEMU that has ended

    def close(self):
        self.sock.sendto(b'', ('127.0.0.1', self.port))
        self.thread.join(5)
        self.sock.close()
