import dataclasses
import math
import pickle
import typing

import pytest

from websocket_utils.config import ConfigOverrides, WebSocketConfig, environment_table
from websocket_utils.exceptions import ConfigError

FIELDS = [field.name for field in dataclasses.fields(WebSocketConfig)]
MIB = 1024 * 1024


def faults_of(**settings: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        WebSocketConfig(**settings)  # type: ignore[arg-type]  # wrong types are the point
    return caught.value.faults


def test_defaults_are_the_documented_ones() -> None:
    assert dataclasses.asdict(WebSocketConfig()) == {
        "host": "0.0.0.0",
        "port": 8080,
        "reconnect_interval": 5.0,
        "max_reconnect_attempts": 10,
        "ping_interval": 30.0,
        "message_buffer_size": 1000,
        "stable_after": 5.0,
        "subscribe_timeout": 5.0,
        "authenticate_timeout": 10.0,
        "max_connection_age": None,
        "open_timeout": 5.0,
        "close_timeout": 2.0,
        "ping_timeout": 20.0,
        "max_message_size": MIB,
        "max_send_queue": MIB,
        "max_inbox": 4 * MIB,
        "max_inbox_messages": 65_536,
        "busy_poll": False,
        "busy_poll_window": 0.001,
        "max_lag": 4 * MIB,
        "fan_out_threads": None,
        "follow_redirects": 0,
        "compression": False,
        "compression_threshold": 1024,
        "compression_window_bits": 15,
        "compression_context_takeover": True,
        "max_connections": 10_000,
        "max_connections_per_address": None,
        "max_connections_per_identity": None,
        "max_channels_per_connection": 1024,
        "commands_per_second": 1000.0,
        "origins": None,
        "hosts": None,
    }


def test_config_is_frozen_keyword_only_and_picklable() -> None:
    config = WebSocketConfig(port=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 2  # type: ignore[misc]  # the point of the test
    with pytest.raises(TypeError):
        WebSocketConfig("localhost")  # type: ignore[call-arg]  # the point of the test
    assert pickle.loads(pickle.dumps(config)) == config


def test_whole_seconds_become_floats() -> None:
    config = WebSocketConfig(ping_interval=3, open_timeout=1)
    assert type(config.ping_interval) is float
    assert type(config.open_timeout) is float


def test_all_faults_come_in_one_error_in_the_order_of_the_settings() -> None:
    assert faults_of(port=70_000, host="", ping_interval=0, max_lag="1") == [
        "host: must be text that is not empty, not ''",
        "port: must be at most 65535, not 70000",
        "ping_interval: must be above 0, not 0",
        "max_lag: must be a whole number, not '1'",
    ]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"host": 1}, "host: must be text that is not empty, not 1"),
        ({"port": -1}, "port: must be at least 0, not -1"),
        ({"port": True}, "port: must be a whole number, not True"),
        ({"port": 80.0}, "port: must be a whole number, not 80.0"),
        ({"port": None}, "port: must be a whole number, not None"),
        ({"max_reconnect_attempts": 1.5}, "max_reconnect_attempts: must be a whole number or None, not 1.5"),
        ({"max_reconnect_attempts": -1}, "max_reconnect_attempts: must be at least 0, not -1"),
        ({"open_timeout": math.nan}, "open_timeout: must be a finite number, not nan"),
        ({"open_timeout": math.inf}, "open_timeout: must be a finite number, not inf"),
        ({"close_timeout": 1e12}, "close_timeout: must be at most 3153600000, not 1000000000000.0"),
        ({"max_message_size": 0}, "max_message_size: must be at least 1, not 0"),
        ({"follow_redirects": 21}, "follow_redirects: must be at most 20, not 21"),
        ({"compression": 1}, "compression: must be true or false, not 1"),
        ({"compression": "yes"}, "compression: must be true or false, not 'yes'"),
        ({"compression_window_bits": 8}, "compression_window_bits: must be at least 9, not 8"),
        ({"compression_window_bits": 16}, "compression_window_bits: must be at most 15, not 16"),
        ({"max_connections": 0}, "max_connections: must be at least 1, not 0"),
        ({"origins": "https://a"}, "origins: must be a tuple of names that are not empty, or None, not 'https://a'"),
        ({"origins": ["x"]}, "origins: must be a tuple of names that are not empty, or None, not ['x']"),
        ({"origins": ("x", " ")}, "origins: must be a tuple of names that are not empty, or None, not ('x', ' ')"),
        ({"hosts": ("x", 1)}, "hosts: must be a tuple of names that are not empty, or None, not ('x', 1)"),
    ],
)
def test_bad_setting_is_named_with_its_limit_and_value(settings: dict[str, object], fault: str) -> None:
    assert faults_of(**settings) == [fault]


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 0},
        {"port": 65_535},
        {"max_reconnect_attempts": None},
        {"max_reconnect_attempts": 0},
        {"ping_interval": None},
        {"message_buffer_size": 0},
        {"max_inbox": 1},
        {"follow_redirects": 20},
        {"compression": True},
        {"compression_threshold": 0},
        {"compression_window_bits": 9},
        {"compression_window_bits": 15},
        {"max_connections": 1},
        {"max_connections": None},
        {"max_connections_per_address": 1},
        {"max_connections_per_identity": 1},
        {"max_channels_per_connection": 1},
        {"commands_per_second": 0.1},
        {"commands_per_second": None},
        {"origins": ()},
        {"hosts": ("a", "b:1")},
    ],
)
def test_value_at_the_edge_of_its_range_is_right(settings: ConfigOverrides) -> None:
    config = WebSocketConfig(**settings)
    assert {name: getattr(config, name) for name in settings} == settings


def test_from_env_reads_every_setting() -> None:
    environ = {
        "WS_HOST": "localhost",
        "WS_PORT": "9001",
        "WS_RECONNECT_INTERVAL": "2.5",
        "WS_MAX_RECONNECT_ATTEMPTS": "3",
        "WS_PING_INTERVAL": " 10 ",
        "WS_MESSAGE_BUFFER_SIZE": "5",
        "WS_STABLE_AFTER": "8",
        "WS_SUBSCRIBE_TIMEOUT": "9",
        "WS_AUTHENTICATE_TIMEOUT": "11",
        "WS_MAX_CONNECTION_AGE": "12",
        "WS_OPEN_TIMEOUT": "1",
        "WS_CLOSE_TIMEOUT": "0.5",
        "WS_PING_TIMEOUT": "4",
        "WS_MAX_MESSAGE_SIZE": "1000",
        "WS_MAX_SEND_QUEUE": "2000",
        "WS_MAX_INBOX": "3000",
        "WS_MAX_INBOX_MESSAGES": "3500",
        "WS_BUSY_POLL": "on",
        "WS_BUSY_POLL_WINDOW": "0.25",
        "WS_MAX_LAG": "4000",
        "WS_FAN_OUT_THREADS": "13",
        "WS_FOLLOW_REDIRECTS": "1",
        "WS_COMPRESSION": "Yes",
        "WS_COMPRESSION_THRESHOLD": "0",
        "WS_COMPRESSION_WINDOW_BITS": "9",
        "WS_COMPRESSION_CONTEXT_TAKEOVER": "off",
        "WS_MAX_CONNECTIONS": "6",
        "WS_MAX_CONNECTIONS_PER_ADDRESS": "7",
        "WS_MAX_CONNECTIONS_PER_IDENTITY": "8",
        "WS_MAX_CHANNELS_PER_CONNECTION": "9",
        "WS_COMMANDS_PER_SECOND": "10",
        "WS_ORIGINS": " https://a.example, https://b.example:8443 ",
        "WS_HOSTS": "feed.example",
        "WS_OF_SOMEBODY_ELSE": "ignored",
    }
    config = WebSocketConfig.from_env(environ)
    assert [getattr(config, name) for name in FIELDS] == [
        *("localhost", 9001, 2.5, 3, 10.0, 5, 8.0, 9.0, 11.0, 12.0, 1.0, 0.5, 4.0, 1000, 2000, 3000, 3500),
        *(True, 0.25, 4000, 13, 1),
        *(True, 0, 9, False, 6, 7, 8, 9, 10.0),
        ("https://a.example", "https://b.example:8443"),
        ("feed.example",),
    ]


def test_empty_variable_means_none_where_none_is_allowed() -> None:
    names = (
        *("max_reconnect_attempts", "ping_interval", "max_connections", "max_connections_per_address"),
        "max_connection_age",
        *("origins", "hosts"),
    )
    config = WebSocketConfig.from_env({f"WS_{name.upper()}": " " for name in names})
    assert [getattr(config, name) for name in names] == [None] * len(names)


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("1", "true", "True", " YES ", "on")]
    + [(text, False) for text in ("0", "false", "FALSE", "no", "Off")],
)
def test_bool_variable_takes_its_usual_spellings(text: str, value: bool) -> None:
    assert WebSocketConfig.from_env({"WS_COMPRESSION": text}).compression is value


@pytest.mark.parametrize("text", ["", "2", "y", "truee", "None", "true,false"])
def test_bool_variable_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WebSocketConfig.from_env({"WS_COMPRESSION": text})
    assert caught.value.faults == [f"WS_COMPRESSION: must be true or false, not {text!r}; unset it for false"]


def test_bool_argument_wins_over_its_variable() -> None:
    assert WebSocketConfig.from_env({"WS_COMPRESSION": "true"}, compression=False).compression is False


@pytest.mark.parametrize(
    ("text", "names"), [("a", ("a",)), ("a,b", ("a", "b")), (" a ,\tb:1 ", ("a", "b:1")), ("[::1]:80", ("[::1]:80",))]
)
def test_tuple_variable_is_split_at_commas(text: str, names: tuple[str, ...]) -> None:
    assert WebSocketConfig.from_env({"WS_HOSTS": text}).hosts == names


@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b"])
def test_tuple_variable_with_an_empty_name_is_refused(text: str) -> None:
    # A name that was left out is a mistake that would let nobody, or the wrong ones, in.
    with pytest.raises(ConfigError, match="WS_HOSTS: must be a tuple of names that are not empty"):
        WebSocketConfig.from_env({"WS_HOSTS": text})


def test_tuple_argument_wins_over_its_variable() -> None:
    assert WebSocketConfig.from_env({"WS_ORIGINS": "https://a"}, origins=None).origins is None


def test_from_env_takes_argument_before_variable_before_default() -> None:
    config = WebSocketConfig.from_env({"WS_PORT": "1", "WS_HOST": "localhost"}, port=2)
    assert (config.port, config.host, config.ping_interval) == (2, "localhost", 30.0)


def test_variable_of_an_overridden_setting_is_not_looked_at() -> None:
    assert WebSocketConfig.from_env({"WS_PORT": "many"}, port=2).port == 2


def test_from_env_names_all_bad_variables_and_arguments_at_once() -> None:
    environ = {"WS_PORT": "many", "WS_HOST": " ", "WS_PING_INTERVAL": "-1", "WS_MAX_LAG": ""}
    with pytest.raises(ConfigError) as caught:
        WebSocketConfig.from_env(environ, close_timeout=0)
    assert caught.value.faults == [
        "WS_HOST: must be text that is not empty, not ' '; unset it for 0.0.0.0",
        "WS_PORT: must be a whole number, not 'many'; unset it for 8080",
        "WS_PING_INTERVAL: must be above 0, not '-1'; unset it for 30",
        "close_timeout: must be above 0, not 0",
        "WS_MAX_LAG: must be a whole number, not ''; unset it for 4194304 (4 MiB)",
    ]


def test_from_env_without_argument_reads_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS_PORT", "9002")
    assert WebSocketConfig.from_env().port == 9002


def test_replace_changes_and_checks() -> None:
    config = WebSocketConfig(port=1).replace(host="localhost")
    assert (config.port, config.host) == (1, "localhost")
    with pytest.raises(ConfigError):
        config.replace(port=-1)


@pytest.mark.parametrize("call", [WebSocketConfig().replace, WebSocketConfig.from_env])
def test_unknown_setting_is_a_type_error_with_a_hint(call: typing.Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="unknown setting 'ping_intervall'; did you mean 'ping_interval'"):
        call(ping_intervall=3)
    with pytest.raises(TypeError, match="there are host, port, "):
        call(zzz=3)


def test_overrides_are_typed_like_the_settings() -> None:
    assert typing.get_type_hints(ConfigOverrides) == typing.get_type_hints(WebSocketConfig)


def test_environment_table_has_a_row_for_each_setting() -> None:
    _, _, *rows = environment_table().splitlines()
    assert [row.split("`")[1] for row in rows] == [f"WS_{name.upper()}" for name in FIELDS]
    assert "| `WS_MAX_LAG` | int | 4194304 (4 MiB) | bytes |" in environment_table()
    assert "empty: never gives up |" in environment_table()
