"""A server on this machine that stands for upstream and for the distribution's mirror."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `pages`: path -> (status, body, Content-Length to claim if not the true one)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes, int | str | None]] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body, claimed = pages.get(self.path, (404, b"", None))
                self.send_response(status)
                self.send_header("Content-Length", str(claimed or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
