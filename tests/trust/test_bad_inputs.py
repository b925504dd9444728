"""Bad input: a sentence that says what to do, and the library as it was; the long form is trust/bad_inputs.py."""

from __future__ import annotations

import pytest

from trust.bad_answers import bad_answers
from trust.bad_inputs import CLASSES, VARIANTS, bad_inputs


def test_each_class_of_bad_input_is_refused_with_a_cure_and_changes_nothing():
    found = bad_inputs(seed=4, seconds=600, every=15)
    assert found.failures == []
    assert found.n == 2 * len(CLASSES)
    assert len(CLASSES) * VARIANTS + 230 >= 1200


def test_nonsense_from_hosted_stores_is_a_sentence_and_changes_nothing():
    found = bad_answers(seed=4, seconds=600, most=24)
    if found.not_run:
        pytest.skip(found.not_run)
    assert found.failures == []
    assert found.n == 24
