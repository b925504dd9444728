"""Settings: what may differ between two installations, from the environment, `.streamlit/secrets.toml`, defaults."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from facecluster.errors import ConfigError

SECRETS = Path(".streamlit") / "secrets.toml"


class SecretsToml(PydanticBaseSettingsSource):
    """The top level of `.streamlit/secrets.toml`, under the environment names."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path = SECRETS) -> None:
        super().__init__(settings_cls)
        self.values: dict[str, Any] = {}
        if path.is_file():
            try:
                self.values = tomllib.loads(path.read_text("utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
                raise ConfigError(
                    f"{path} is not valid TOML: {exc}. No setting was read from it. Mend or remove it."
                ) from exc

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one field, looked up by its environment name."""
        return self.values.get(str(field.alias or field_name)), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values that are there, by environment name."""
        fields = self.settings_cls.model_fields.values()
        return {str(f.alias): self.values[str(f.alias)] for f in fields if str(f.alias) in self.values}


class Settings(BaseSettings):
    """Each field is described here, and `docs/settings.md` is tested against it."""

    # Inputs stay out of pydantic's own message: it is the cause of our error, and a traceback would print a key.
    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    library: Path = Field(
        default=Path(platformdirs.user_data_dir("facecluster", appauthor=False)) / "library",
        alias="FACECLUSTER_LIBRARY",
        description="Folder of the embedded library: faces, people, saved hierarchies.",
    )
    user: str = Field(
        default="local",
        alias="FACECLUSTER_USER",
        min_length=1,
        max_length=512,
        description="Whose faces these are, in single-user mode. Any text; one folder per user.",
    )
    allowed: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        alias="FACECLUSTER_ALLOWED",
        description="Who may sign in, separated by commas: user ids, e-mail addresses, @domain, or * for "
        "anyone whom the provider signs in.",
    )
    session_hours: float = Field(
        default=12.0,
        alias="FACECLUSTER_SESSION_HOURS",
        gt=0,
        le=30 * 24,
        description="Hours after which whoever signed in has to sign in again.",
    )
    idle_minutes: float = Field(
        default=120.0,
        alias="FACECLUSTER_IDLE_MINUTES",
        gt=0,
        le=30 * 24 * 60,
        description="Minutes without a click after which whoever signed in has to sign in again.",
    )
    open_without_sign_in: bool = Field(
        default=False,
        alias="FACECLUSTER_OPEN_TO_THE_NETWORK_WITHOUT_SIGN_IN",
        description="Without sign-in, answer others than this machine too: whoever reaches the address sees and "
        "changes every face.",
    )
    min_cluster_size: int = Field(
        default=3,
        alias="CLUSTER_MIN_CLUSTER_SIZE",
        ge=2,
        description="Faces that make a person.",
    )
    min_samples: int = Field(
        default=3,
        alias="CLUSTER_MIN_SAMPLES",
        ge=1,
        le=100,
        description="Neighbours that make a face dense; the face itself is not counted.",
    )
    epsilon: float = Field(
        default=0.35,
        alias="CLUSTER_EPSILON",
        ge=0,
        le=2,
        description="Distance (0 to 2) below which people are not split further.",
    )
    method: Literal["eom", "leaf", "cut"] = Field(
        default="eom",
        alias="CLUSTER_METHOD",
        description="How people are read from the hierarchy: eom (excess of mass), leaf, or cut at epsilon.",
    )
    blur_threshold: float = Field(
        default=50.0,
        alias="CLUSTERING_BLUR_THRESHOLD",
        ge=0,
        allow_inf_nan=False,
        description="Faces with a lower blur score are left out of clustering; a missing score counts as sharp.",
    )
    search_top_k: int = Field(
        default=50,
        alias="FACE_SEARCH_TOP_K",
        ge=1,
        le=10_000,
        description="Nearest faces that a search starts from.",
    )
    image_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        alias="FACECLUSTER_IMAGE_HOSTS",
        description="Hosts from which the browser may load photos, separated by commas.",
    )
    scheduler: str = Field(
        default="",
        alias="FACECLUSTER_SCHEDULER",
        description="Address of a Dask scheduler (tcp://host:8786) that computes hierarchies; empty: threads of this "
        "machine.",
    )
    shared_folder: str = Field(
        default="",
        alias="FACECLUSTER_SHARED_FOLDER",
        description="Folder, or fsspec URL, that this machine and the workers of the scheduler see under one name.",
    )
    device: Literal["cpu", "cuda"] = Field(
        default="cpu",
        alias="FACECLUSTER_DEVICE",
        description="What makes the products of a hierarchy: cpu, or cuda (an NVIDIA GPU, by CuPy), on the workers "
        "where there is a scheduler.",
    )
    pinecone_api_key: SecretStr = Field(
        default=SecretStr(""),
        alias="PINECONE_API_KEY",
        description="Pinecone key; with one, faces are read from Pinecone instead of files.",
    )
    pinecone_index: str = Field(
        default="faces-arcface",
        alias="IDX_FACES_ARCFACE",
        min_length=1,
        description="Name of the Pinecone index of the faces.",
    )
    pinecone_host: str = Field(
        default="",
        alias="PINECONE_HOST",
        description="Address of that index (https://…pinecone.io), for keys that may not look it up by name.",
    )
    pinecone_namespace: str = Field(
        default="",
        alias="PINECONE_NAMESPACE",
        description="Namespace of the user's faces; {user} in it stands for the user. Empty: the default namespace.",
    )
    pinecone_user_field: str = Field(
        default="",
        alias="PINECONE_USER_FIELD",
        description="Metadata field that names the user, where several users share a namespace.",
    )
    pinecone_grpc: bool = Field(
        default=False,
        alias="PINECONE_GRPC",
        description="Read from Pinecone by gRPC instead of REST.",
    )
    supabase_url: str = Field(
        default="",
        alias="SUPABASE_URL",
        description="Address of the Supabase project (https://….supabase.co); with one, people are kept there.",
    )
    supabase_service_key: SecretStr = Field(
        default=SecretStr(""),
        alias="SUPABASE_SERVICE_KEY",
        description="Secret (service) key of the project, for one trusted installation.",
    )
    supabase_publishable_key: SecretStr = Field(
        default=SecretStr(""),
        alias="SUPABASE_PUBLISHABLE_KEY",
        description="Publishable (anon) key of the project, where each user brings a token of their own.",
    )

    @property
    def is_hosted(self) -> bool:
        """Somebody set up a hosted store, so the demo library must not stand in for it."""
        return self.has_pinecone or self.has_supabase

    @property
    def has_pinecone(self) -> bool:
        """Faces are read from Pinecone."""
        return bool(self.pinecone_api_key.get_secret_value())

    @property
    def has_supabase(self) -> bool:
        """People are kept in Supabase."""
        return bool(self.supabase_url)

    @field_validator("library", mode="before")
    @classmethod
    def _named_folder(cls, folder: object) -> object:
        if folder == "":
            raise ValueError("an empty name would be the folder the program happens to run in")
        return Path(folder).expanduser() if isinstance(folder, str | Path) else folder

    @field_validator("image_hosts", "allowed", mode="before")
    @classmethod
    def _split(cls, listed: object) -> object:
        return tuple(one.strip() for one in listed.split(",") if one.strip()) if isinstance(listed, str) else listed

    @field_validator("image_hosts")
    @classmethod
    def _plain_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host or any(c in host for c in "/:@?#* "):
                raise ValueError(f"{host!r} is not a host name such as res.cloudinary.com")
        return tuple(host.lower() for host in hosts)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of the sources: arguments, environment, secrets file, defaults."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, SecretsToml(settings_cls)


def drop_copies_of_secrets() -> None:
    """Take out of the environment what Streamlit copied there from the secrets file.

    The environment wins, so without this a name that is taken off a list in the file would stay on it until the server
    is started again.
    """
    for name, value in SecretsToml(Settings)().items():
        if os.environ.get(name) == str(value):
            del os.environ[name]


def load_settings(**overrides: object) -> Settings:
    """Settings in force, checked.

    Raises
    ------
    ConfigError
        With the setting, its value and the rule it breaks.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        first = exc.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        field = next((f for key, f in Settings.model_fields.items() if name in (key, f.alias)), None)
        is_secret = field is not None and field.annotation is SecretStr
        shown = "what it is" if is_secret else repr(first["input"])
        raise ConfigError(
            f"The setting {field.alias if field else name} cannot be {shown}: {first['msg']}. "
            "Nothing was started. See docs/settings.md."
        ) from exc
