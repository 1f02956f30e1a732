"""Memory that the kernel may turn into huge pages, and memory that it may not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tritone_runtime import huge_pages as pages

_SETTLED = """
import mmap, re
from tritone_runtime.huge_pages import keep_page_sizes

def flags():  # by where they begin, of private memory without a file
    entry = r"^([0-9a-f]+)-.* rw-p \\S+ 00:00 0 .*(?:\\n(?!VmFlags).*)*\\nVmFlags: (.*)"
    found = re.findall(entry, open("/proc/self/smaps").read(), re.M)
    return {start: words.split() for start, words in found}

before = set(flags())
keep_page_sizes()
after = flags()
print(len(before), all("nh" in after[start] for start in before & set(after)))
fresh = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print(any("nh" not in each for each in flags().values()))
"""


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="no huge pages here")
def test_what_a_process_has_is_left_as_it_is_and_new_memory_may_be_huge() -> None:
    path = str(Path(pages.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", _SETTLED], env={"PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    count, settled, huge = run.stdout.split()
    assert int(count) > 2
    assert (settled, huge) == ("True", "True")
