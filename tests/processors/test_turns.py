"""The end of the caller's turn, decided on a clock that the test moves."""

from processors.turns import EndOfTurn, Waits

UNCLEAR = "on tuesday"  # words that leave it to the end-of-turn model
WAITS = Waits(incomplete_ms=1200, transcript_ms=400, empty_ms=2000)


def policy() -> EndOfTurn:
    turn = EndOfTurn(WAITS)
    turn.speech_started()
    return turn


def test_a_turn_does_not_end_while_the_caller_speaks() -> None:
    turn = policy()
    turn.transcript(UNCLEAR, 500, final=True)
    turn.verdict(True, 500)
    assert turn.ends_at() is None


def test_a_finished_sentence_ends_when_its_final_transcript_arrives() -> None:
    turn = policy()
    turn.verdict(True, 900)  # asked early, in the pause
    turn.speech_stopped(1000)
    turn.transcript(UNCLEAR, 1060, final=True)
    assert turn.ends_at() == 1060


def test_a_late_verdict_is_waited_for() -> None:
    turn = policy()
    turn.speech_stopped(1000)
    turn.transcript(UNCLEAR, 1010, final=True)
    turn.verdict(True, 1045)
    assert turn.ends_at() == 1045


def test_an_unfinished_sentence_is_given_time() -> None:
    turn = policy()
    turn.verdict(False, 900)
    turn.speech_stopped(1000)
    turn.transcript(UNCLEAR, 1060, final=True)
    assert turn.ends_at() == 1000 + WAITS.incomplete_ms


def test_speech_that_goes_on_takes_everything_back() -> None:
    turn = policy()
    turn.verdict(True, 900)
    turn.speech_stopped(1000)
    turn.transcript(UNCLEAR, 1060, final=True)
    turn.speech_started()
    assert turn.ends_at() is None
    turn.speech_stopped(3000)
    turn.verdict(True, 3000)
    # The first part's text is there, but the recogniser has not flushed the second part.
    assert turn.ends_at() == 3000 + WAITS.transcript_ms


def test_an_interim_after_a_final_means_more_words_are_coming() -> None:
    turn = policy()
    turn.transcript(UNCLEAR, 900, final=True)
    turn.interim()
    turn.speech_stopped(1000)
    turn.verdict(True, 1000)
    assert turn.ends_at() == 1000 + WAITS.transcript_ms


def test_a_recogniser_that_never_finalizes_does_not_hold_the_turn() -> None:
    turn = policy()
    turn.verdict(True, 950)
    turn.speech_stopped(1000)
    turn.transcript(UNCLEAR, 1150, final=False)
    assert turn.ends_at() == 1150 + WAITS.grace_ms


def test_text_from_before_the_pause_is_given_time_to_be_completed() -> None:
    turn = policy()
    turn.transcript(UNCLEAR, 900, final=False)
    turn.verdict(True, 950)
    turn.speech_stopped(1000)
    assert turn.ends_at() == 1000 + WAITS.transcript_ms


def test_a_noise_without_words_ends_as_an_empty_turn() -> None:
    turn = policy()
    turn.verdict(True, 950)
    turn.speech_stopped(1000)
    assert turn.ends_at() == 1000 + WAITS.empty_ms


def test_words_that_are_on_their_way_are_waited_for() -> None:
    for text, final in (("", False), (UNCLEAR, False)):
        turn = policy()
        turn.transcript(text, 900, final=final)
        turn.verdict(True, 950)
        turn.speech_stopped(1000)
        assert turn.ends_at(expected_by=3500) == 3500


def test_words_that_have_come_are_not_waited_for() -> None:
    turn = policy()
    turn.verdict(True, 950)
    turn.speech_stopped(1000)
    turn.transcript(UNCLEAR, 1060, final=True)
    assert turn.ends_at(expected_by=3500) == 1060


def test_the_news_that_there_was_no_word_ends_the_wait_and_takes_none_away() -> None:
    cough, spoken = policy(), policy()
    spoken.transcript(UNCLEAR, 900, final=False)
    for turn in (cough, spoken):
        turn.verdict(True, 950)
        turn.speech_stopped(1000)
        turn.transcript("", 1200, final=True)
    assert cough.ends_at() == 1200
    assert spoken.ends_at() == 1200
    finished = policy()
    finished.transcript("Can you book it on Tuesday and.", 900, final=False)
    finished.speech_stopped(1000)
    finished.transcript("", 1200, final=True)
    assert finished.ends_at() == 1000 + WAITS.incomplete_ms


def test_a_new_turn_knows_nothing_of_the_last() -> None:
    turn = policy()
    turn.transcript(UNCLEAR, 900, final=True)
    turn.verdict(True, 950)
    turn.begin()
    turn.speech_started()
    turn.speech_stopped(5000)
    assert turn.ends_at() == 5000 + WAITS.empty_ms


def test_words_that_finish_a_sentence_overrule_the_melody() -> None:
    turn = policy()
    turn.verdict(False, 900)
    turn.speech_stopped(1000)
    turn.transcript("No, that is all, thank you.", 1060, final=True)
    assert turn.ends_at() == 1060


def test_words_that_must_go_on_overrule_the_melody() -> None:
    turn = policy()
    turn.verdict(True, 900)
    turn.speech_stopped(1000)
    turn.transcript("Can you book it on Tuesday and.", 1060, final=True)
    assert turn.ends_at() == 1000 + WAITS.incomplete_ms


def test_words_without_a_heard_voice_are_a_turn_too() -> None:
    turn = EndOfTurn(WAITS)
    turn.speech_was_missed(1000)
    turn.transcript("Yes.", 1000, final=True)
    assert turn.ends_at() == 1000


def test_words_after_a_heard_pause_do_not_move_it() -> None:
    turn = policy()
    turn.verdict(False, 900)
    turn.speech_stopped(1000)
    turn.speech_was_missed(1500)
    turn.transcript(UNCLEAR, 1500, final=True)
    assert turn.ends_at() == 1000 + WAITS.incomplete_ms
