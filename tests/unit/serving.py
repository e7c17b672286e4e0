"""A folder behind a real HTTP server that notes what it is asked for, and answers otherwise where a test wants that."""

from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread


class Folder:
    """``asked`` counts requests by name; ``change`` gets name, content and which request for it this is."""

    def __init__(self, root: Path):
        self.root = root
        self.asked: Counter[str] = Counter()
        self.order: list[str] = []
        self.change: Callable[[str, bytes, int], bytes | int] = lambda name, content, number: content
        self.url = ""
        self._lock = Lock()

    def answer(self, name: str) -> bytes | int:
        """Content, or a status."""
        with self._lock:
            self.asked[name] += 1
            self.order.append(name)
            number = self.asked[name]
        path = self.root / name
        return self.change(name, path.read_bytes(), number) if path.is_file() else 404

    @property
    def files(self) -> set[str]:
        """All that is stored."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}


@contextmanager
def served(root: Path):
    folder = Folder(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            answer = folder.answer(self.path.removeprefix("/array/"))
            self.send_response(answer if isinstance(answer, int) else 200)
            content = b"" if isinstance(answer, int) else answer
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        folder.url = f"http://127.0.0.1:{server.server_address[1]}/array"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield folder
        finally:
            server.shutdown()
            thread.join()
