"""Logs, metrics and the timeline: what may be seen of a running server, and what may not."""

import io
import json
import logging
import os
import urllib.request
from pathlib import Path

import pytest

from securerec.deploy import logs
from securerec.deploy.metrics import Metrics, serve_metrics
from securerec.deploy.timeline import draw
from securerec.deploy.watching import METRICS, Span, WatchedExchange, read_spans
from securerec.errors import ConfigError
from securerec.federation.parties.letters import Ask, Hello, to_bytes


def logged(message: str, **fields: object) -> dict[str, object]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter("node-07"))
    logger = logging.getLogger("securerec.test")
    logger.addHandler(handler)
    try:
        logger.warning(message, extra={"fields": fields})
    finally:
        logger.removeHandler(handler)
    line: dict[str, object] = json.loads(stream.getvalue())
    return line


def test_a_line_of_the_log_says_who_when_and_what() -> None:
    line = logged("phase over", phase="upload", heard=3, seconds=1.5, replayed=False)
    assert line["party"] == "node-07"
    assert line["event"] == "phase over"
    assert (line["phase"], line["heard"], line["seconds"], line["replayed"]) == ("upload", 3, 1.5, False)
    assert str(line["time"]).endswith("+00:00")


def test_bytes_and_objects_never_reach_the_log() -> None:
    secret = os.urandom(32)
    line = json.dumps(logged("oops", key=secret, inside={"key": secret}, array=bytearray(secret)))
    assert secret.hex() not in line
    assert repr(secret) not in line
    assert json.loads(line)["key"] == "(bytes)"


def test_a_line_stays_one_line_however_hostile_its_text() -> None:
    assert logged("a", why='x"\n{"event": "forged"}')["why"] == 'x" {"event": "forged"}'


def test_metrics_are_served_on_loopback_in_prometheus_format() -> None:
    metrics = Metrics(METRICS)
    metrics.set("securerec_round", 2)
    metrics.add("securerec_letters_total", direction="out")
    metrics.add("securerec_letters_total", 2, direction="out")
    metrics.add("securerec_refusals_total", what='a "quoted"\nname')
    server = serve_metrics(metrics, 0)
    try:
        assert server.server_address[0] == "127.0.0.1"
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
        with pytest.raises(urllib.request.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/etc")
    finally:
        server.shutdown()
        server.server_close()
    assert "# TYPE securerec_round gauge\nsecurerec_round 2\n" in text
    assert 'securerec_letters_total{direction="out"} 3\n' in text
    assert 'securerec_refusals_total{what="a \\"quoted\\"\\nname"} 1\n' in text


class Echo:
    """Answers one party of those that were asked."""

    def parties(self) -> dict:
        return {}

    def deliver(self, letters: dict[str, bytes], *, deadline: float):  # noqa: ANN201
        yield "node-00", letters["node-00"]


def test_each_letter_leaves_its_times_and_sizes_and_nothing_of_what_it_held(tmp_path: Path) -> None:
    metrics, path, content = Metrics(METRICS), tmp_path / "letters.jsonl", os.urandom(64)
    exchange = WatchedExchange(Echo(), path, metrics)
    letter = to_bytes(Ask("round", 2, 1, messages={0: content}))
    assert list(exchange.deliver({"node-00": letter, "node-01": letter}, deadline=1)) == [("node-00", letter)]
    list(exchange.deliver({"node-00": letter}, deadline=1))
    list(exchange.deliver({"node-00": to_bytes(Hello())}, deadline=1))
    answered, silent, second, hello = read_spans(path)
    assert (answered.party, answered.release, answered.round_number, answered.phase) == ("node-00", "round", 2, 0)
    assert answered.answered is not None and answered.sent <= answered.answered
    assert (answered.bytes_out, answered.bytes_in) == (len(letter), len(letter))
    assert silent.answered is None and silent.bytes_in == 0
    assert (second.phase, hello.kind) == (1, "hello")
    assert content.hex() not in path.read_text() and content not in path.read_bytes()
    assert f'{{direction="out"}} {3 * len(letter) + len(to_bytes(Hello()))}' in metrics.text()


def test_a_line_that_a_crash_has_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    list(WatchedExchange(Echo(), path, Metrics(METRICS)).deliver({"node-00": to_bytes(Hello())}, deadline=1))
    path.write_text(path.read_text() + '{"kind": "as')
    assert len(read_spans(path)) == 1


def test_a_rounds_timeline_is_drawn_and_another_is_refused_by_name(tmp_path: Path) -> None:
    spans = [
        Span("ask", "round", 1, 1, phase, f"node-0{n}", 10.0 + phase, None if n == 2 else 10.5 + phase + n, 5, 7)
        for phase in range(2)
        for n in range(3)
    ]
    out = tmp_path / "round.svg"
    assert draw(spans, out, "round 1") == "round 1, 3 parties"
    assert out.read_text().startswith("<?xml")
    with pytest.raises(ConfigError, match="there are round 1"):
        draw(spans, out, "round 9")
