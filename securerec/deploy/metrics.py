"""Figures of a running server for Prometheus, in its text format, from a small HTTP server on loopback."""

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Labels = tuple[tuple[str, str], ...]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters and gauges by name and labels."""

    def __init__(self, described: Mapping[str, tuple[str, str]]) -> None:
        """described: by name, its kind ("counter" or "gauge") and what it is."""
        self._described = dict(described)
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in self._described}
        self._lock = threading.Lock()

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its value."""
        with self._lock:
            self._values[name][_labels(labels)] = float(value)

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            series = self._values[name]
            key = _labels(labels)
            series[key] = series.get(key, 0.0) + value

    def text(self) -> str:
        """In Prometheus' text format, version 0.0.4."""
        lines = []
        with self._lock:
            for name, (kind, what) in self._described.items():
                lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
                for labels, value in sorted(self._values[name].items()):
                    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
                    lines.append(f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:.17g}")
        return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def serve_metrics(metrics: Metrics, port: int) -> ThreadingHTTPServer:
    """Answer GET /metrics on 127.0.0.1 in a thread; port 0 takes a free one. `shutdown` ends it. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/metrics"
            body = metrics.text().encode() if found else b"there is /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody needs a line for each time that somebody looks."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
