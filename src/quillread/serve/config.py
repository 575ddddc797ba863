"""What a server is started with."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from quillread.errors import ConfigError
from quillread.images.web import WebConfig

LogFormat = Literal["lines", "json"]


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """How much a server takes on."""

    upload_bytes: int = 4_000_000_000
    """Of one uploaded file."""
    pages: int = 5_000
    """Of one uploaded document."""
    archive_files: int = 20_000
    """Files within an uploaded zip."""
    archive_bytes: int = 20_000_000_000
    """Of all files within an uploaded zip together, unpacked."""
    text_characters: int = 10_000
    """Of the text of one line."""
    page_lines: int = 10_000
    """Lines of one page."""
    queued_jobs: int = 1_000
    """Jobs that wait or run; beyond it new ones are refused with 429."""
    concurrent_reads: int = 4
    """Requests to `/read` that wait or run; beyond it they are refused with 429."""
    read_seconds: float = 300.0
    """Time that a request to `/read` may take."""
    attempts: int = 3
    """Times that a task is tried before it is parked with its fault."""
    recycle_pages: int = 500
    """Pages after which a worker process is replaced, against libraries that leak."""
    worker_memory: int | None = None
    """Bytes that a worker process may take; None for no limit but that of each page (`read.max_memory`)."""
    login_attempts: int = 10
    """Wrong passwords of a name or an address in a quarter of an hour before logins are refused."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"limits.{name} must be above 0, got {value}")


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """What a server is started with."""

    data: Path = Path("quillread-data")
    """Folder of the archive: database, files, models, keys."""
    host: str = "127.0.0.1"
    """Address to listen on; one beyond loopback needs accounts."""
    port: int = 8765
    """Port to listen on; 0 for any that is free."""
    database: str | None = None
    """Address of a PostgreSQL database, `postgresql://USER@HOST/NAME`; SQLite in `data` if not given."""
    storage: str | None = None
    """Where files are kept, as fsspec names it (`s3://bucket/prefix`); a folder in `data` if not given."""
    workers: int = 0
    """Processes that read pages; 0 for one a core, two at most, as reading uses all of a core."""
    root_path: str = ""
    """Path below which a proxy shows the server, such as `/quill`."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which the server may be called, beside the address that it listens on."""
    behind_proxy: bool = False
    """Whether a proxy before the server says who calls and whether by TLS (`X-Forwarded-For`, `-Proto`)."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    log_format: LogFormat = "lines"
    """How the log is written."""
    web: WebConfig = field(default_factory=WebConfig)
    """Which addresses of the web may be read (IIIF manifests, images)."""
    limits: ServeLimits = field(default_factory=ServeLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be 0 to 65535, got {self.port}")
        if self.workers < 0:
            raise ConfigError(f"workers must be at least 0, got {self.workers}")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise ConfigError(f"root_path begins with / and ends without one, got {self.root_path!r}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("tls_certificate and tls_key belong together: give both or none")
        if self.log_format not in get_args(LogFormat):
            raise ConfigError(f"log_format must be lines or json, got {self.log_format!r}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def needs_accounts(self) -> bool:
        """Whether others than the one person at this machine may call: from elsewhere, or by a proxy."""
        return not self.is_local or self.behind_proxy or bool(self.allowed_hosts)
