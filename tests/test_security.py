"""A broker that asks for TLS in both directions and for a password: the whole stack against it, and what is refused."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import trustme
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from schemas.errors import SettingsError
from schemas.settings import Deployment
from streams.cli import main
from streams.clients import client_options
from streams.embedded import start_kafka
from streams.embedded.children import HOST, free_ports
from streams.stack import running_stack

SETTINGS = """
listeners=PLAINTEXT://{{host}}:{{port}},SASL_SSL://{{host}}:{secure},CONTROLLER://{{host}}:{{controller_port}}
advertised.listeners=PLAINTEXT://{{host}}:{{port}},SASL_SSL://{{host}}:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={directory}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/authority.pem
listener.name.sasl_ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_npo="secret";
"""


def write_certificate(authority: trustme.CA, path: Path) -> None:
    """Write key and certificate of 127.0.0.1 into one file; Kafka reads keys in PKCS 8 only."""
    certificate = authority.issue_cert(HOST)
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The fields of a deployment whose broker takes SASL over TLS with a client certificate."""
    directory = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "authority.pem")
    for name in ("broker", "client"):
        write_certificate(authority, directory / f"{name}.pem")
    (secure,) = free_ports(1)
    with start_kafka(directory / "kafka", settings=SETTINGS.format(directory=directory, secure=secure)):
        yield {
            "broker": f"{HOST}:{secure}",
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "npo",
            "sasl_password": "secret",
            "ssl_ca_file": directory / "authority.pem",
            "ssl_cert_file": directory / "client.pem",
            "partitions": 1,
        }


def test_the_whole_stack_works_over_tls_with_a_password(
    secured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Topics, workers, read model, play and watch all go through the one set of client options; the password is in no log."""
    data = tmp_path / "site"
    data.mkdir()
    times = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 1, 5), "5m", eager=True)
    pl.DataFrame({"timestamp": times, "value": pl.arange(len(times), eager=True) % 7}).write_parquet(data / "web.parquet")
    home = tmp_path / "home"
    with running_stack(home, **secured):
        for name, value in secured.items():
            monkeypatch.setenv(f"NPO_{name.upper()}", str(value))
        monkeypatch.setenv("NPO_HOME", str(home))
        assert main(["play", str(data), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["samples"] == len(times)
        samples = 0
        for _ in range(60):
            assert main(["watch", "--json"]) == 0
            samples = json.loads(capsys.readouterr().out).get("site", {}).get("samples", 0)
            if samples == len(times):
                break
        assert samples == len(times)
    logs = "".join(path.read_text(errors="replace") for path in home.rglob("*.log"))
    assert "secret" not in logs + (home / "stack.json").read_text()


@pytest.mark.parametrize("wrong", [{"sasl_password": "guess"}, {"ssl_cert_file": None}])
async def test_who_has_not_both_is_refused(secured: dict[str, Any], wrong: dict[str, Any]) -> None:
    """Without the password, or without the client certificate, no client gets in."""
    consumer = AIOKafkaConsumer(**client_options(Deployment(**(secured | wrong))), request_timeout_ms=3000)
    try:
        with pytest.raises(KafkaError):
            await asyncio.wait_for(consumer.start(), 20)
    finally:
        await consumer.stop()


@pytest.mark.parametrize("wrong", [{"sasl_username": None}, {"ssl_ca_file": Path("nowhere.pem")}])
def test_incomplete_security_is_a_settings_error(secured: dict[str, Any], wrong: dict[str, Any]) -> None:
    """What cannot work says so before anything connects."""
    with pytest.raises(SettingsError):
        client_options(Deployment(**(secured | wrong)))
