"""Holds the gate of `make autobahn` to what it promises, and its page and expectations to each other."""

import json

import pytest
from conformance import render
from conformance.grades import SETS, Grades, bad_closes, compare, count, is_in, load_expected, parse_index, raised

OK = ("OK", "OK")
INFORMATIONAL = ("INFORMATIONAL", "INFORMATIONAL")
NON_STRICT = ("NON-STRICT", "OK")
FAILED = ("FAILED", "OK")
UNCLEAN = ("OK", "UNCLEAN")
UNIMPLEMENTED = ("UNIMPLEMENTED", "UNIMPLEMENTED")


def test_page_is_what_the_results_render_to() -> None:
    assert render.main(["--check"]) == 0


@pytest.mark.parametrize("role", ["server", "client"])
def test_expectation_is_every_case_of_the_suite_and_none_but_ok_and_informational(role: str) -> None:
    expected = load_expected(role)
    core = {case: grade for case, grade in expected.items() if is_in(case, SETS["core"])}
    compression = {case: grade for case, grade in expected.items() if is_in(case, SETS["compression"])}
    assert (len(core), list(core.values()).count(OK), list(core.values()).count(INFORMATIONAL)) == (301, 298, 3)
    assert (len(compression), list(compression.values()).count(OK)) == (216, 216)
    assert len(expected) == 301 + 216


def test_run_as_expected_passes() -> None:
    expected = {"1.1.1": OK, "7.1.6": INFORMATIONAL}
    comparison = compare(expected, dict(expected))
    assert (comparison.passes, comparison.is_as_expected) == (True, True)


@pytest.mark.parametrize(
    "found", [NON_STRICT, FAILED, UNCLEAN, UNIMPLEMENTED, ("OK", "WRONG CODE"), ("NEW WORD", "OK")]
)
def test_case_that_is_worse_fails_the_run(found: tuple[str, str]) -> None:
    comparison = compare({"2.1": OK, "10.1.1": OK}, {"2.1": found, "10.1.1": OK})
    assert comparison.worse == {"2.1": (OK, found)}
    assert not comparison.passes


@pytest.mark.parametrize("grade", [FAILED, UNCLEAN, ("FAILED", "WRONG CODE")])
def test_case_that_failed_fails_the_run_though_nothing_else_was_expected(grade: tuple[str, str]) -> None:
    assert not compare({"7.1.2": grade}, {"7.1.2": grade}).passes


def test_case_that_is_unimplemented_passes_where_that_was_expected() -> None:
    assert compare({"12.1.1": UNIMPLEMENTED}, {"12.1.1": UNIMPLEMENTED}).is_as_expected


def test_case_that_is_better_passes_and_is_told() -> None:
    comparison = compare({"6.4.3": NON_STRICT}, {"6.4.3": OK})
    assert comparison.better == {"6.4.3": (NON_STRICT, OK)}
    assert (comparison.passes, comparison.is_as_expected) == (True, False)


def test_case_that_is_better_in_one_part_and_worse_in_the_other_is_worse() -> None:
    assert compare({"6.4.3": NON_STRICT}, {"6.4.3": UNCLEAN}).worse == {"6.4.3": (NON_STRICT, UNCLEAN)}


def test_case_that_is_informational_for_ok_is_no_difference() -> None:
    assert compare({"7.1.6": OK}, {"7.1.6": INFORMATIONAL}).is_as_expected


def test_case_that_did_not_run_fails_the_run() -> None:
    comparison = compare({"9.1.1": OK, "1.1.1": OK}, {})
    assert comparison.missing == ["1.1.1", "9.1.1"]
    assert not comparison.passes


@pytest.mark.parametrize(("grade", "passes"), [(OK, True), (NON_STRICT, True), (FAILED, False), (UNCLEAN, False)])
def test_case_nobody_knew_passes_unless_it_is_bad(grade: tuple[str, str], passes: bool) -> None:
    comparison = compare({}, {"14.1": grade})
    assert comparison.new == {"14.1": grade}
    assert comparison.passes is passes


def test_only_cases_that_are_non_strict_and_closed_rightly_are_run_again() -> None:
    expected = dict.fromkeys(["1.1", "1.2", "1.3"], OK)
    found = {"1.1": NON_STRICT, "1.2": FAILED, "1.3": ("NON-STRICT", "UNCLEAN")}
    assert compare(expected, found).loose == ["1.1"]


def test_expectation_is_raised_by_a_run_and_never_lowered() -> None:
    expected: Grades = {"1.1": NON_STRICT, "1.2": OK, "1.3": OK}
    found: Grades = {"1.1": OK, "1.2": NON_STRICT, "1.4": OK, "1.5": FAILED}
    assert raised(expected, compare(expected, found)) == {"1.1": OK, "1.2": OK, "1.3": OK, "1.4": OK}


def test_index_of_the_suite_is_reduced_to_both_grades() -> None:
    entry = {"behavior": "OK", "behaviorClose": "WRONG CODE", "duration": 4, "reportfile": "one.json"}
    assert parse_index(json.dumps({"us": {"1.1.1": entry}})) == {"1.1.1": ("OK", "WRONG CODE")}


def test_pattern_takes_in_its_own_cases_alone() -> None:
    assert [case for case in ("1.1", "1.10", "10.1", "12.1.1", "12.10.1") if is_in(case, ("1.*", "12.1.*"))] == [
        "1.1",
        "1.10",
        "12.1.1",
    ]


def test_counts_name_every_behaviour_and_take_unknown_words_for_failures() -> None:
    grades = [OK, OK, NON_STRICT, INFORMATIONAL, ("NEW WORD", "OK"), ("OK", "UNCLEAN"), UNIMPLEMENTED]
    assert list(count(grades).values()) == [3, 1, 1, 1, 1]
    assert bad_closes(grades) == 1
