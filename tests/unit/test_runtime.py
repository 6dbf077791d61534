import os
import subprocess
import sys

import pytest

from ov_emotions.system import core_for_others, shared_core

SCRIPT = """
import gc, os, signal, sys
from ov_emotions import EmotionClassifier
first, second = (EmotionClassifier(sys.argv[1]) for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_there_is_one_core():
    assert shared_core() is shared_core()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_signal_after_two_classifiers_went_in_turn_is_heard(tiny_bundle):
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, tiny_bundle.folder], capture_output=True, text=True
    )
    assert (answer.returncode, answer.stdout) == (0, "heard\n")


def test_other_libraries_share_the_core_for_the_length_of_a_block(tiny_bundle):
    import openvino as ov

    own = ov.Core, ov.compile_model
    with core_for_others():
        assert ov.Core() is shared_core()
        compiled = ov.compile_model(str(tiny_bundle.model_path), "CPU", {"NUM_STREAMS": 1})
        assert compiled.get_property("NUM_STREAMS") == 1
        assert ov.compile_model(str(tiny_bundle.model_path), "CPU").outputs
    assert (ov.Core, ov.compile_model) == own
