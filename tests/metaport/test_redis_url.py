"""A Redis URL that cannot be meant is refused before anybody connects, by what is wrong with it."""

import pytest

from chatd.redis_link import link_to
from chatd.redis_options import Times
from metaport.config import ConfigError, load_config


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://user:p%40ss@redis.example:6380/3",
        "rediss://[::1]:6379/0",
        "unix:///run/redis/redis.sock",
        "redis+sentinel://a:26379,b,[::1]:26379/chat",
        "rediss+sentinel://:secret@a:26379/chat/2",
        "redis+cluster://a:6379,b:6379",
    ],
)
async def test_what_can_be_meant_is_what_the_link_understands(tmp_path, url):
    environment = {"METAPORT_DATA_DIR": str(tmp_path), "METAPORT_REDIS_URL": url}
    assert load_config(None, environment).redis.url == url
    await link_to(url, "metaport", Times()).close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://redis", "is not a redis://"),
        ("redis:/host", "is not a redis://"),
        ("redis://", "has no host name"),
        ("redis://:6379", "has no host name"),
        ("redis://[::1", "cannot be read as a URL"),
        ("redis://host:port", "is no number of 1–65535"),
        ("redis://host:70000", "is no number of 1–65535"),
        ("redis://host:", "is no number of 1–65535"),
        ("redis://user:s3cr/et@host", "is no number of 1–65535"),
        ("redis://host/chat", "no database number"),
        ("redis://a,b", "names several servers"),
        ("unix://run/redis.sock/", "has no path"),
        ("unix://", "has no path"),
        ("redis+sentinel://a:26379", "does not name what the Sentinels watch"),
        ("redis+sentinel://a:26379/chat/x", "no database number"),
        ("redis+sentinel://a,,b/chat", "has no host name"),
        ("redis+cluster://a/1", "a cluster has none"),
    ],
)
def test_what_cannot_is_told_in_both_languages_and_without_the_url(tmp_path, url, said):
    environment = {"METAPORT_DATA_DIR": str(tmp_path), "METAPORT_REDIS_URL": url}
    with pytest.raises(ConfigError) as refused:
        load_config(None, environment)
    [problem] = refused.value.problems
    assert problem.path == "redis.url"
    assert said in problem.to("en")
    assert any("가" <= letter <= "힣" for letter in problem.to("ko"))
    assert "s3cr" not in problem.to("en") + problem.to("ko")
