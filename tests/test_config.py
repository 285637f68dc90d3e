"""Configuration: who wins, what is refused and in which words, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callwright.config import LOCAL_KEY, Config, load, table, with_stand_ins
from callwright.errors import ConfigError
from callwright.stage import Stage
from callwright.vendors import Vendor, find

SECRET = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(
    *overrides: str,
    yaml: str | None = None,
    agent: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    if yaml is not None:
        Path("callwright.yaml").write_text(yaml, encoding="utf-8")
    return load(file=None, overrides=overrides, agent=agent, environ=environ or {})


def refusal(*overrides: str, **given: object) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*overrides, **given)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message, "a refusal is one line"
    return message


# Who wins


def test_with_nothing_given_every_stage_has_its_default_vendor_and_the_vendors_defaults() -> None:
    config = loaded()
    assert (config.stt.vendor, config.llm.vendor, config.tts.vendor) == ("deepgram", "anthropic", "cartesia")
    assert config.llm.model == "claude-haiku-5-5"
    assert config.llm.settings["enable_prompt_caching"] is True
    assert config.stt.settings["mip_opt_out"] is True
    assert config.sources["tts.model"] == "default of cartesia"
    assert config.turn.incomplete_ms == 1200
    assert config.pipeline == "cascade"


def test_later_sources_win_and_every_value_keeps_its_source() -> None:
    yaml = "tts:\n  speed: 1.1\n  volume: 0.9\nrecords:\n  database: sqlite:///file.db\nroom:\n  url: ws://file:7880\n"
    config = loaded(
        "tts.speed=1.2",
        yaml=yaml,
        agent={"tts": {"voice": "agents-own", "speed": 0.8, "volume": 0.8}, "call": {"max_duration_s": 60}},
        environ={"LIVEKIT_URL": "ws://env:7880", "CALLWRIGHT_DATABASE": "sqlite:///env.db"},
    )
    assert config.tts.settings["voice"] == "agents-own"
    assert config.tts.settings["volume"] == 0.9
    assert config.tts.settings["speed"] == 1.2
    assert config.records.database == "sqlite:///env.db"
    assert config.room.url == "ws://env:7880"
    assert config.call.max_duration_s == 60
    assert {
        key: config.sources[key] for key in ("tts.voice", "tts.volume", "tts.speed", "room.url", "room.token_ttl_s")
    } == {
        "tts.voice": "agent",
        "tts.volume": "callwright.yaml:3",
        "tts.speed": "--set",
        "room.url": "environment LIVEKIT_URL",
        "room.token_ttl_s": "default",
    }


def test_a_named_file_is_read_in_place_of_the_usual_one(tmp_path: Path) -> None:
    Path("callwright.yaml").write_text("pipeline: usual\n")
    named = tmp_path / "other.yaml"
    named.write_text("pipeline: named\n")
    config = load(file=named, overrides=(), environ={})
    assert config.pipeline == "named"
    assert config.sources["pipeline"] == f"{named}:1"


def test_null_takes_a_value_back() -> None:
    config = loaded("tts.speed=", "tts.voice=~", yaml="tts: {speed: 1.1, voice: mine}")
    assert "speed" not in config.tts.settings
    assert config.tts.settings["voice"] != "mine"


def test_a_new_vendor_sets_aside_what_was_meant_for_the_old_one_and_says_so() -> None:
    config = loaded("tts.vendor=elevenlabs", "tts.stability=0.5", agent={"tts": {"voice": "a-cartesia-voice"}})
    assert config.tts.vendor == "elevenlabs"
    assert config.tts.model == "eleven_flash_v2_5"
    assert config.tts.settings["voice"] != "a-cartesia-voice"
    assert config.tts.settings["stability"] == 0.5
    (note,) = config.notes
    assert note.startswith("tts.voice (agent) is set aside: it was meant for cartesia")


def test_naming_the_same_vendor_again_sets_nothing_aside() -> None:
    config = loaded("tts.vendor=cartesia", agent={"tts": {"voice": "mine"}})
    assert config.tts.settings["voice"] == "mine"
    assert config.notes == ()


def test_set_reads_yaml_values() -> None:
    config = loaded('stt.keyterm=[Callwright, "Dr. Who"]', "turn.smart_turn=false", "stt.endpointing=false")
    assert config.stt.settings["keyterm"] == ["Callwright", "Dr. Who"]
    assert config.turn.smart_turn is False
    assert config.stt.settings["endpointing"] is False


def test_text_that_looks_like_a_number_is_still_text_where_text_is_wanted() -> None:
    assert loaded("tts.voice=0123").tts.settings["voice"] == "0123"
    assert loaded(yaml="tts:\n  voice: 1e3\n").tts.settings["voice"] == "1e3"


def test_a_bare_path_is_taken_for_an_sqlite_file() -> None:
    assert loaded("records.database=/var/calls.db").records.database == "sqlite:////var/calls.db"
    assert loaded("records.database=calls.db").records.database == "sqlite:///calls.db"


# What is refused


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("tts.vendor=elevanlabs", "unknown vendor 'elevanlabs' for tts; did you mean 'elevenlabs'? (--set)"),
        (
            "tts.vendor=anthropic",
            "'anthropic' is for llm, not for tts; known: cartesia, deepgram, elevenlabs (--set)",
        ),
        ("tts.model=sonic-36", "unknown model 'sonic-36' for cartesia (tts); did you mean 'sonic-3.6'?"),
        ("tts.vioce=x", "unknown setting 'vioce' for cartesia (tts); did you mean 'voice'? (--set)"),
        (
            "tts.stability=0.5",
            "'stability' for cartesia (tts); it is a setting of elevenlabs (--set)",
        ),
        ("tts.modle=x", "unknown setting 'modle' for cartesia (tts); did you mean 'model'? (--set)"),
        ("tss.model=x", "unknown key 'tss'; did you mean 'tts'? (--set)"),
        ("vad_stop_ms=1", "unknown key 'vad_stop_ms'; did you mean 'turn.vad_stop_ms'? (--set)"),
        (
            "room.output_queue_sise_ms=1",
            "'output_queue_sise_ms' in room; did you mean 'output_queue_ms'?",
        ),
        (
            "room.max_duration_s=1",
            "'max_duration_s' in room; did you mean 'call.max_duration_s'?",
        ),
        ("tts.generation.speed=1", "unknown key 'tts.generation.speed'; a key has two parts"),
        ("tts=cartesia", "'tts' is a section"),
        (
            "room.output_queue_ms=40",
            "output_queue_ms must be greater than or equal to 50, not 40 (--set)",
        ),
        (
            "room.output_queue_ms=2000",
            "output_queue_ms must be less than or equal to 1000, not 2000 (--set)",
        ),
        ("room.output_queue_ms='150'", "room.output_queue_ms must be a valid integer, not '150' (--set)"),
        ("room.audio_from=everyone", "room.audio_from must be 'linked' or 'all', not 'everyone' (--set)"),
        ("tts.speed=9", "tts.speed must be less than or equal to 1.5, not 9 (--set)"),
        ("stt.punctuate=1", "stt.punctuate must be a valid boolean, not 1 (--set)"),
        ("stt.stand_in=true", "unknown setting 'stand_in' for deepgram (stt)"),
        (
            "llm.temperature=0.5",
            "claude-haiku-5-5 does not accept 'temperature'; leave it out (--set)",
        ),
        ("stt.base_url=127.0.0.1:9000", "stt.base_url '127.0.0.1:9000' must begin with https://, http://"),
        (
            "stt.base_url=http://api.example.com",
            "would send keys and callers' words in clear to api.",
        ),
        (
            "room.url=livekit",
            "must begin with https://, http://, wss:// or ws://, not 'livekit' (--set)",
        ),
        ("tts.voice", "--set wants key=value"),
        ("=x", "--set wants key=value"),
    ],
)
def test_what_is_wrong_is_refused_by_name_with_the_nearest_right_one(override: str, words: str) -> None:
    assert words in refusal(override)


def test_a_refusal_names_the_line_of_the_file() -> None:
    words = refusal(yaml="llm:\n  model: claude-haiku-5-5\ntts:\n  vendor: elevanlabs\n")
    assert words.endswith("did you mean 'elevenlabs'? (callwright.yaml:4)")


def test_settings_stand_beside_the_vendor_and_not_below_it() -> None:
    assert "write the settings beside 'vendor' and 'model'" in refusal(yaml="tts: {settings: {speed: 1.0}}")


def test_a_key_given_twice_names_both_lines() -> None:
    words = refusal(yaml="tts:\n  voice: a\n  voice: b\n")
    assert words == "tts.voice is given twice: callwright.yaml:2 and callwright.yaml:3; keep one of them"


def test_broken_yaml_names_the_line() -> None:
    assert refusal(yaml="tts:\n  voice: [a\n").startswith("callwright.yaml:3: not valid YAML:")


def test_a_file_that_is_no_text_at_all_is_refused_in_one_line() -> None:
    assert "not valid YAML" in refusal(yaml="tts: \0\n")


def test_a_file_that_is_a_list_is_refused() -> None:
    assert "must hold sections" in refusal(yaml="- tts\n")


def test_an_empty_file_is_no_configuration_and_no_error() -> None:
    assert loaded(yaml="# nothing yet\n").tts.vendor == "cartesia"
    assert loaded(yaml="tts:\n").tts.vendor == "cartesia"


def test_a_named_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        load(file=Path("nowhere.yaml"), overrides=(), environ={})


def test_a_model_unknown_to_this_version_is_allowed_when_the_user_says_so() -> None:
    assert loaded("tts.model=custom:sonic-9").tts.model == "sonic-9"
    assert loaded("llm.model=claude-haiku-4-5-20251001").llm.model == "claude-haiku-4-5-20251001"
    assert "unknown model" in refusal("llm.model=claude-haiku-4-5-2025")


def test_a_voice_without_the_rooms_rate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "must be 16000, 24000 or 48000, not 44100" in refusal("room.output_rate=44100")

    def telephone_only(stage: Stage, name: str) -> Vendor:
        return replace(find(stage, name), rates=(8000,))

    monkeypatch.setattr("callwright.resolve.find", telephone_only)
    assert refusal() == "room.output_rate is 24000 Hz, which cartesia does not have; it has 8000 (default)"


# Fillers


def test_fillers_are_on_and_can_be_switched_off_and_tuned() -> None:
    assert loaded().filler.enabled
    config = loaded("filler.enabled=false", "filler.after_ms=900", "filler.intervals_s=[1, 2.5]")
    assert (config.filler.enabled, config.filler.after_ms, config.filler.intervals_s) == (False, 900, [1, 2.5])
    config = loaded(yaml="filler:\n  lines: [' Moment. ', One second.]\n  hold_sound: soft\n")
    assert config.filler.lines == ["Moment.", "One second."]
    assert config.filler.hold_sound == "soft"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("filler.after_ms=50", "filler.after_ms must be greater than or equal to 300"),
        ("filler.intervals_s=[]", "filler.intervals_s"),
        ("filler.intervals_s=[2, 1]", "filler.intervals_s must not shrink from one silence to the next"),
        ("filler.lines=[Moment.]", "filler.lines must hold two different lines at least"),
        ("filler.lines=[Moment., Moment.]", "filler.lines must hold two different lines at least"),
        ("filler.lines=[Moment., '']", "filler.lines must hold one spoken line each"),
        ("filler.hold_sound=nowhere.wav", "filler.hold_sound must be 'soft' or the path of a WAV file that is there"),
        ("filler.intervals=[1]", "did you mean 'intervals_s'?"),
    ],
)
def test_a_bad_filler_is_told_in_one_line(given: str, told: str) -> None:
    assert told in refusal(given)


# Whatever is written, the answer is a configuration or one line

FRAGMENTS = [
    *(
        "tts",
        "stt",
        "room",
        "turn",
        "records",
        "pipeline",
        "vendor",
        "voice",
        "speed",
        "base_url",
        "api_key",
        "keyterm",
    ),
    *(": ", "\n  ", "\n", "- ", "[", "]", "{", "}", "'", '"', "&a", "*a", "!!python/object:os.system", "?", "|", "<<"),
    *("${X}", "1", "1e3", "true", "~", "2026-01-01", "=", ".", "\t", "\x00", "é", "http://127.0.0.1:1", "::"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ANY_TIME = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answer_to(**parts: Any) -> str:
    """The table of the configuration, or the refusal; any other exception is the test's failure."""
    try:
        return table(loaded(*parts.pop("overrides", ()), **parts))[0]
    except ConfigError as error:
        return str(error)


@ANY_TIME
@given(
    yaml=st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join),
    overrides=st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=5).map("".join), max_size=2),
)
def test_any_file_and_any_override_is_taken_or_refused_in_one_line(yaml: str, overrides: list[str]) -> None:
    assert "\n" not in answer_to(yaml=yaml, overrides=overrides)


@ANY_TIME
@given(
    agent=st.dictionaries(
        st.sampled_from(["tts", "stt", "llm", "room", "call", "records", "pipeline", "other"]),
        JSON | st.dictionaries(st.sampled_from(["vendor", "model", "voice", "base_url", "url", "keyterm"]), JSON),
        max_size=3,
    )
)
def test_any_agents_defaults_are_taken_or_refused_in_one_line(agent: dict[str, Any]) -> None:
    assert "\n" not in answer_to(agent=agent)


# Keys


def test_missing_credentials_name_the_variables_that_supply_them() -> None:
    missing = {each.key: (each.variable, each.stage) for each in loaded("tts.vendor=elevenlabs").missing()}
    assert missing == {
        "stt.api_key": ("DEEPGRAM_API_KEY", "stt"),
        "llm.api_key": ("ANTHROPIC_API_KEY", "llm"),
        "tts.api_key": ("ELEVENLABS_API_KEY", "tts"),
        "room.url": ("LIVEKIT_URL", None),
        "room.api_key": ("LIVEKIT_API_KEY", None),
        "room.api_secret": ("LIVEKIT_API_SECRET", None),
    }


def test_an_empty_variable_counts_as_not_set() -> None:
    assert loaded(environ={"DEEPGRAM_API_KEY": "", "LIVEKIT_URL": ""}).stt.api_key is None


def test_the_room_refuses_to_be_entered_without_credentials() -> None:
    with pytest.raises(ConfigError, match=r"set LIVEKIT_API_KEY, LIVEKIT_API_SECRET$"):
        loaded("room.url=ws://h:1").room.credentials()


@pytest.mark.parametrize("section", ["stt", "room"])
def test_a_key_in_clear_in_a_file_is_refused_and_not_repeated(section: str) -> None:
    words = refusal(yaml=f"{section}:\n  api_key: {SECRET}\n")
    assert f"{section}.api_key stands in clear" in words
    assert "(callwright.yaml:2)" in words
    assert SECRET not in words


def test_a_key_in_clear_in_an_agents_script_is_refused() -> None:
    assert "stands in clear" in refusal(agent={"llm": {"api_key": SECRET}})


def test_a_file_may_refer_to_another_variable_which_then_counts() -> None:
    yaml = "stt:\n  api_key: ${OUR_KEY}\n"
    config = loaded(yaml=yaml, environ={"OUR_KEY": SECRET, "DEEPGRAM_API_KEY": "another"})
    assert config.stt.api_key is not None
    assert config.stt.api_key.get_secret_value() == SECRET
    assert config.sources["stt.api_key"] == "callwright.yaml:2 ($OUR_KEY)"


def test_a_key_variable_a_file_refers_to_is_the_one_that_is_missing() -> None:
    missing = loaded(yaml="stt:\n  api_key: ${OUR_KEY}\n").missing()
    assert ("stt.api_key", "OUR_KEY") in [(each.key, each.variable) for each in missing]


def test_other_values_may_refer_to_variables_too_but_not_to_unset_ones() -> None:
    yaml = "records:\n  database: postgresql+pg8000://me:${PASSWORD}@db/calls\n"
    config = loaded(yaml=yaml, environ={"PASSWORD": "hunter22"})
    assert config.records.database == "postgresql+pg8000://me:hunter22@db/calls"
    assert "refers to ${PASSWORD}, which is not set" in refusal(yaml=yaml)


@pytest.mark.parametrize("key", [f"{SECRET} {SECRET}", f"{SECRET}\n{SECRET}", f"{SECRET}…"])
def test_a_key_that_was_copied_badly_is_refused_and_not_repeated(key: str) -> None:
    words = refusal(environ={"DEEPGRAM_API_KEY": key})
    assert "stt.api_key holds a character that no key has; copy it again (environment DEEPGRAM_API_KEY)" in words
    assert SECRET not in words


def test_space_around_a_key_is_no_part_of_it() -> None:
    config = loaded(environ={"DEEPGRAM_API_KEY": f" {SECRET}\n"})
    assert config.stt.api_key is not None
    assert config.stt.api_key.get_secret_value() == SECRET


def test_a_server_on_this_machine_needs_no_key() -> None:
    config = loaded("llm.base_url=http://127.0.0.1:9000", "tts.base_url=https://tts.example.com")
    assert config.llm.api_key is not None
    assert config.llm.api_key.get_secret_value() == LOCAL_KEY
    assert config.tts.api_key is None, "but a server elsewhere does"


def test_a_given_key_is_used_on_this_machine_as_well() -> None:
    config = loaded("llm.base_url=http://127.0.0.1:9000", "llm.api_key=caller-7")
    assert config.llm.api_key is not None
    assert config.llm.api_key.get_secret_value() == "caller-7"


# Showing


def test_secrets_are_never_shown_in_full() -> None:
    config = loaded(
        f"stt.api_key={SECRET}",
        "llm.api_key=short",
        "records.database=postgresql+pg8000://me:hunter22@db/calls",
        environ={"LIVEKIT_API_SECRET": SECRET},
    )
    everything = "\n".join(table(config)) + repr(config.masked()) + repr(config)
    assert SECRET not in everything
    assert "hunter22" not in everything
    values = {leaf.key: leaf.value for leaf in config.leaves()}
    assert values["stt.api_key"] == "set (…cdef)"
    assert values["llm.api_key"] == "set", "of a short key nothing is shown"
    assert values["records.database"] == "postgresql+pg8000://me:…@db/calls"


def test_the_table_shows_every_key_once_with_value_and_source_in_columns() -> None:
    lines = table(loaded("tts.speed=1.1"))
    (speed,) = [line for line in lines if line.startswith("tts.speed ")]
    assert speed.split() == ["tts.speed", "1.1", "--set"]
    assert lines == table(loaded("tts.speed=1.1")), "the order is stable"
    starts = {line.index("default") for line in lines if line.endswith("default") and "/" not in line}
    assert len(starts) == 1


def test_the_masked_tree_holds_the_effective_values() -> None:
    tree = loaded("tts.speed=1.1").masked()
    assert isinstance(tree["tts"], dict)
    assert tree["tts"]["speed"] == 1.1
    assert tree["pipeline"] == "cascade"


# Stand-ins


def test_a_stand_in_takes_a_stages_place_and_the_rest_stays() -> None:
    config = loaded("tts.voice=slt", environ={"ANTHROPIC_API_KEY": SECRET})
    stood = with_stand_ins(config, ["stt", "tts"], "http://127.0.0.1:9000", "call-1")
    assert (stood.stt.stand_in, stood.llm.stand_in, stood.tts.stand_in) == (True, False, True)
    assert stood.tts.base_url == "http://127.0.0.1:9000"
    assert stood.tts.settings["voice"] == "slt"
    assert stood.llm == config.llm
    assert [each.stage for each in stood.missing() if each.stage] == []
    assert stood.sources["stt.base_url"] == "stand-in"
    assert not config.stt.stand_in, "the original is left alone"


def test_a_vendor_without_a_stand_in_falls_back_to_the_default_vendor_and_says_so() -> None:
    config = loaded("tts.vendor=elevenlabs", "tts.stability=0.5")
    stood = with_stand_ins(config, ["tts"], "http://127.0.0.1:9000", "call-1")
    assert stood.tts.vendor == "cartesia"
    assert "stability" not in stood.tts.settings
    assert stood.notes == ("tts: there is no stand-in for elevenlabs; cartesia stands in for it",)


# -- those who take over


def test_fallbacks_are_configured_like_the_stage_itself(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "llm:\n  model: claude-haiku-4-5\n  fallback:\n"
        "    - {vendor: openai, model: gpt-4.1, temperature: 0.5, api_key: '${OTHER_KEY}'}\n"
        "    - {vendor: anthropic}\n"
    )
    config = load(file=file, overrides=[], environ={"ANTHROPIC_API_KEY": "a-key", "OTHER_KEY": "o-key"})
    first, second = config.llm.fallback
    assert (first.vendor, first.model, first.settings["temperature"]) == ("openai", "gpt-4.1", 0.5)
    assert first.api_key is not None
    assert first.api_key.get_secret_value() == "o-key"
    assert second.model == find("llm", "anthropic").default_model
    assert config.sources["llm.fallback.0.model"].endswith("c.yaml:3")
    shown = {leaf.key: leaf.value for leaf in config.leaves()}
    assert "o-key" not in str(shown["llm.fallback.0.api_key"])
    assert config.masked()["llm"]["fallback"]["0"]["vendor"] == "openai"  # type: ignore[index, call-overload]


def test_a_missing_key_of_a_fallback_is_missing(tmp_path: Path) -> None:
    config = load(file=None, overrides=["tts.fallback=[{vendor: elevenlabs}]"], environ={})
    assert [(one.key, one.variable) for one in config.missing() if "fallback" in one.key] == [
        ("tts.fallback.0.api_key", "ELEVENLABS_API_KEY")
    ]


def test_another_vendor_keeps_the_fallbacks() -> None:
    config = load(
        file=None,
        overrides=["stt.vendor=deepgram-flux"],
        agent={"stt": {"fallback": [{"vendor": "deepgram"}]}},
        environ={},
    )
    assert [one.vendor for one in config.stt.line] == ["deepgram-flux", "deepgram"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("openai", "llm.fallback must be a list of vendors"),
        ("[{model: gpt-4.1}]", "llm.fallback: number 1 names no vendor"),
        ("[{vendor: opnai}]", "unknown vendor 'opnai'"),
        ("[{vendor: openai, modl: x}]", "unknown setting 'modl'"),
        ("[{vendor: openai, model: gpt-9}]", "unknown model 'gpt-9'"),
    ],
)
def test_a_wrong_fallback_is_named(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(file=None, overrides=[f"llm.fallback={value}"], environ={})


def test_a_key_of_a_fallback_may_not_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("llm:\n  fallback:\n    - {vendor: openai, api_key: sk-in-clear}\n")
    with pytest.raises(ConfigError, match="stands in clear") as refused:
        load(file=file, overrides=[], environ={})
    assert "sk-in-clear" not in str(refused.value)


def test_stand_ins_take_the_place_of_fallbacks_too() -> None:
    config = load(file=None, overrides=["llm.fallback=[{vendor: anthropic}]"], environ={})
    staged = with_stand_ins(config, ["llm"], "http://127.0.0.1:1", "key")
    keys = [one.api_key.get_secret_value() for one in staged.llm.line if one.api_key]
    assert keys == ["key", "key-fallback-1"]
    assert all(one.stand_in and one.base_url == "http://127.0.0.1:1" for one in staged.llm.line)
    assert not staged.missing() or all(missing.stage != "llm" for missing in staged.missing())
