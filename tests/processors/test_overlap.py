"""Who has the floor when the caller makes a sound while the agent speaks. Times are ms; nothing sleeps."""

import pytest

from processors.overlap import Claim, Overlap, OverlapWaits, Verdict, claim

WAITS = OverlapWaits()
HOLD, YIELD, RESUME = Verdict.HOLD, Verdict.YIELD, Verdict.RESUME


def overlap(*, asking: bool = False, below_db: float | None = 0.0, language: str = "en") -> Overlap:
    """An overlap that began at 0."""
    policy = Overlap(WAITS, language=language)
    policy.begin(0, asking=asking, below_db=below_db)
    return policy


@pytest.mark.parametrize(
    "text",
    [
        *("Uh-huh.", "uh huh", "Uhhuh.", "Mhmm.", "mm hmm", "Mm-hmm,", "Mhm, mhm.", "Hmm.", "Oh.", "Ooh!", "Aha."),
        *("OK", "Okay.", "ok ok", "Yeah.", "Yeahhh", "Yep", "Right.", "Right, right.", "Sure.", "Great!", "Got it."),
        *("I see.", "Oh, I see.", "Yeah, okay.", "Okay, great, got it.", "All right.", "Sounds good.", "Oh my god!"),
        *("haha", "Ha ha ha.", "Hehe", "[laughter]", "(coughs)", "um", "Mm-hmm. Of course.", "That’s right."),
    ],
)
def test_a_listener_does_not_want_the_floor(text: str) -> None:
    assert claim(text) in (Claim.LISTENING, Claim.NOTHING)


@pytest.mark.parametrize(
    "text",
    [
        *("Okay but", "yeah no that", "What?", "Actually", "Sorry", "I", "I see a problem", "Right now", "Tuesday"),
        *("Got", "uh-huh, and the price?", "Great, thank you.", "10:30", "Good morning", "well", "Nuh-uh"),
    ],
)
def test_any_other_word_wants_it(text: str) -> None:
    assert claim(text) is Claim.FLOOR


@pytest.mark.parametrize("text", ["Stop.", "No!", "yeah no wait", "Okay, stop.", "Uh, hold on.", "Excuse me", "Nooo"])
def test_an_order_to_stop_is_known_as_one(text: str) -> None:
    assert claim(text) is Claim.STOP


@pytest.mark.parametrize("text", ["Yes.", "Okay", "Uh-huh.", "Mm-hmm", "Sure, sounds good", "Oh, yes"])
def test_while_the_agent_asks_yes_is_an_answer(text: str) -> None:
    assert claim(text, asking=True) is Claim.FLOOR


@pytest.mark.parametrize("text", ["Hmm", "Oh", "I see", "Wow."])
def test_while_the_agent_asks_wonder_is_none(text: str) -> None:
    assert claim(text, asking=True) is Claim.LISTENING


def test_other_languages() -> None:
    for text in ("Ach so!", "Ja, genau.", "Mhm.", "Alles klar", "Ähm", "Okay", "Ich verstehe."):
        assert claim(text, "de-DE") is Claim.LISTENING
    assert claim("Nein, Moment mal!", "de") is Claim.STOP
    assert claim("Ja, aber", "de") is Claim.FLOOR
    assert claim("Mm-hmm. Okay.", "sv") is Claim.LISTENING
    assert claim("precis", "sv") is Claim.FLOOR  # a language without an entry claims nothing


def test_the_first_words_take_the_floor_at_once() -> None:
    policy = overlap()
    assert policy.verdict(299) is HOLD
    policy.transcript("stop", 300, final=False)
    assert policy.verdict(300) is YIELD


def test_the_beginning_of_i_see_is_not_yet_a_word() -> None:
    policy = overlap()
    policy.transcript("I", 300, final=False)
    assert policy.verdict(310) is HOLD
    policy.transcript("I need", 450, final=False)
    assert policy.verdict(450) is YIELD


def test_okay_that_goes_on_takes_the_floor() -> None:
    policy = overlap()
    policy.transcript("okay", 300, final=False)
    assert policy.verdict(400) is HOLD
    policy.transcript("okay but", 600, final=False)
    assert policy.verdict(600) is YIELD


def test_a_backchannel_resumes_once_it_is_final() -> None:
    policy = overlap()
    policy.transcript("Uh-huh", 250, final=False)
    policy.speech_stopped(400)
    assert policy.verdict(400) is HOLD
    policy.transcript("Uh-huh.", 520, final=True)
    assert policy.verdict(520) is RESUME


def test_a_final_from_before_the_end_of_the_sound_does_not_cover_it() -> None:
    policy = overlap()
    policy.transcript("Okay.", 300, final=True)
    policy.speech_stopped(900)
    assert policy.verdict(900) is HOLD
    assert policy.decides_at() == 900 + WAITS.words_ms


def test_a_cough_resumes_without_words() -> None:
    policy = overlap()
    policy.speech_stopped(300)
    assert policy.decides_at() == 300 + WAITS.words_ms
    assert policy.verdict(300 + WAITS.words_ms) is RESUME


def test_a_final_without_words_resumes_at_once() -> None:
    policy = overlap()
    policy.speech_stopped(300)
    policy.transcript("", 420, final=True)
    assert policy.verdict(420) is RESUME


def test_words_that_come_late_still_take_the_floor() -> None:
    policy = overlap()
    policy.speech_stopped(300)
    assert policy.verdict(800) is RESUME
    policy.transcript("Stop.", 900, final=True)
    assert policy.verdict(900) is YIELD


def test_long_loud_sound_without_words_takes_the_floor() -> None:
    policy = overlap(below_db=None)
    assert policy.decides_at() == WAITS.wordless_ms
    policy.speech_stopped(700)
    policy.speech_started(1000)
    assert policy.decides_at() == 1000 + WAITS.wordless_ms - 700
    assert policy.verdict(1800) is YIELD


def test_a_soft_voice_does_not_take_the_floor() -> None:
    policy = overlap(below_db=18)
    assert policy.verdict(0) is RESUME
    policy.transcript("so I told her no, wait until Tuesday", 900, final=True)
    assert policy.verdict(5000) is RESUME


def test_a_soft_order_to_stop_takes_it_if_it_is_not_faint() -> None:
    for below_db, verdict in ((13, YIELD), (20, RESUME)):
        policy = overlap(below_db=below_db)
        policy.transcript("Stop.", 400, final=True)
        assert policy.verdict(400) is verdict


def test_speech_that_rises_to_the_callers_level_is_the_callers() -> None:
    policy = overlap(below_db=14)
    assert policy.verdict(0) is RESUME
    policy.level(5)
    assert policy.verdict(300) is RESUME
    policy.transcript("can you", 400, final=False)
    assert policy.verdict(400) is YIELD


@pytest.mark.parametrize("below_db", [None, 0, 20])
@pytest.mark.parametrize("text", ["", "okay", "I"])
def test_no_doubt_lasts(below_db: float | None, text: str) -> None:
    policy = overlap(below_db=below_db)
    if text:
        policy.transcript(text, 100, final=False)
    for at in range(200, 2400, 200):  # a sound that comes and goes
        policy.speech_stopped(at)
        policy.speech_started(at + 50)
    due = policy.decides_at()
    assert due is not None
    assert due <= WAITS.hold_ms
    assert policy.verdict(due) is not HOLD


def test_yield_is_for_good_until_the_next_overlap() -> None:
    policy = overlap()
    policy.transcript("wait", 300, final=False)
    assert policy.verdict(300) is YIELD
    policy.speech_stopped(400)
    policy.transcript("okay", 500, final=True)
    assert policy.verdict(9000) is YIELD
    assert policy.decides_at() is None
    policy.begin(10_000, asking=False, below_db=0)
    assert policy.verdict(10_000) is HOLD
