"""A text in a log is found once, wherever the looks fall."""

from pathlib import Path

from tritone_server.log_watch import STATE_LEFT_GPU, LogWatch


def test_a_text_is_found_once_for_any_cut(tmp_path: Path) -> None:
    log, line = tmp_path / "log", f"W0101 memory.cc:135] {STATE_LEFT_GPU}\n".encode()
    for cut in range(len(line) + 1):
        log.write_bytes(b"started\n")
        watch = LogWatch(log, STATE_LEFT_GPU)
        found = [watch.found()]
        with log.open("ab") as file:
            for part in (line[:cut], line[cut:], b"more\n"):
                file.write(part)
                file.flush()
                found.append(watch.found())
        assert sum(found) == 1, cut


def test_a_log_may_be_missing_and_begin_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    watch = LogWatch(log, STATE_LEFT_GPU)
    assert not watch.found()
    log.write_text("a long first log of a server that had nothing to say about its memory, again and again")
    assert not watch.found()
    log.write_text(STATE_LEFT_GPU)
    assert watch.found()
