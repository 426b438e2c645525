"""A service of the standard library: reports its version at any path, and the files of its layers at /files."""

import http.server
import os
import signal
import sys


def files():
    for folder, _, names in os.walk("/srv"):
        for name in names:
            path = os.path.join(folder, name)
            yield f"{path} {os.lstat(path).st_nlink} {os.path.realpath(path)}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        version = os.environ["APP_VERSION"]
        text = "\n".join(sorted(files())) if self.path == "/files" else f"python {version}"
        body = (text + "\n").encode()
        self.send_response(200)
        self.send_header("x-app-version", version)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
