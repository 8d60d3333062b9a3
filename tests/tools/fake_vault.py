#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What key-from-vault asks of Vault's transit engine, on 127.0.0.1: fake_vault.py TOKEN

Prints its port. The "wrapping" hides a key from nobody but a test that looks for it.
"""
import base64
import http.server
import json
import os
import sys

PAD = os.urandom(64)


def mask(key):
    return bytes(a ^ b for a, b in zip(key, PAD))


class Vault(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Vault-Token"] != sys.argv[1]:
            return self.send_error(403)
        if self.path == "/v1/transit/datakey/wrapped/disks":
            wrapped = base64.b64encode(mask(os.urandom(body["bits"] // 8))).decode()
            return self.answer({"ciphertext": "vault:v1:" + wrapped})
        if self.path == "/v1/transit/decrypt/disks":
            key = mask(base64.b64decode(body["ciphertext"].removeprefix("vault:v1:")))
            return self.answer({"plaintext": base64.b64encode(key).decode()})
        return self.send_error(404)

    def answer(self, data):
        text = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Vault)
print(server.server_port, flush=True)
server.serve_forever()
