"""Kafka clients as a deployment declares them: addresses, SASL and TLS in one place."""

import ssl
from typing import Any

from schemas.errors import SettingsError, StackError
from schemas.settings import Deployment


def client_options(deployment: Deployment) -> dict[str, Any]:
    """Return the keyword arguments that every aiokafka client takes: bootstrap servers, SASL, TLS.

    Raises:
        StackError: no broker is known.
        SettingsError: TLS files that cannot be read, or SASL without mechanism or user.
    """
    if deployment.broker is None:
        raise StackError("no broker: start one with `npo up`, or set NPO_BROKER=host:port")
    options: dict[str, Any] = {"bootstrap_servers": deployment.broker, "security_protocol": deployment.security_protocol}
    if deployment.security_protocol.startswith("SASL"):
        if deployment.sasl_mechanism is None or deployment.sasl_username is None or deployment.sasl_password is None:
            raise SettingsError(f"{deployment.security_protocol} needs NPO_SASL_MECHANISM, NPO_SASL_USERNAME and NPO_SASL_PASSWORD")
        options |= {
            "sasl_mechanism": deployment.sasl_mechanism,
            "sasl_plain_username": deployment.sasl_username,
            "sasl_plain_password": deployment.sasl_password,
        }
    if deployment.security_protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(deployment)
    return options


def tls_context(deployment: Deployment) -> ssl.SSLContext:
    """Return the TLS context of a deployment: its own authority and client certificate where it names them.

    Raises:
        SettingsError: a file that cannot be read or is not a certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=deployment.ssl_ca_file)
        if deployment.ssl_cert_file is not None:
            context.load_cert_chain(deployment.ssl_cert_file, deployment.ssl_key_file)
    except (OSError, ssl.SSLError) as error:
        files = (deployment.ssl_ca_file, deployment.ssl_cert_file, deployment.ssl_key_file)
        raise SettingsError(f"TLS files {[str(f) for f in files if f]}: {error}; give PEM files that this user may read") from error
    return context
