#!/usr/bin/env python3
"""Receives webhooks: WEBHOOK_SECRET=whsec_… receiver.py PORT"""
import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))

def verified(headers, body):
    sent_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > 300:
        return False  # older than five minutes
    digest = hmac.new(KEY, f"{sent_id}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    sent = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(expected.encode(), signature) for signature in sent)

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if verified(self.headers, body):
            # The id is the same in every attempt: store it, and skip jobs that are already done.
            print(self.headers["webhook-id"], self.headers["aint-queue-job"], json.loads(body), flush=True)
            self.send_response(204)
        else:
            self.send_response(401)  # final: a retry would carry the same signature
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
