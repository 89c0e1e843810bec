"""All settings, in one file; what differs between installations comes through `config.env`."""

from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import environ
from django.utils.translation import gettext_lazy as _

from config import env

env.check_names()

BASE_DIR = env.BASE_DIR
DATA_DIR = env.data_dir()
SERVICES_FILE = env.services_file()
ENVIRONMENT = env.VARIABLES
PART: str = env.read("SHOP_PART")

# --- security -------------------------------------------------------------------------------------------------------
# No default for a secret: `up` makes its own and leaves them in the data directory; elsewhere the environment has them.
# Without either, commands that need no key (help, makemigrations) still run with one nobody knows; the parts refuse.
SECRET_KEY, JWT_KEY = env.secret("SHOP_SECRET_KEY", PART), env.secret("SHOP_JWT_KEY", PART)
WEAK_KEYS = {name: env.weakness(env.service(name)) for name in ("SHOP_SECRET_KEY", "SHOP_JWT_KEY")}
if SECRET_KEY == JWT_KEY:
    raise env.BadEnvironment("SHOP_JWT_KEY is SHOP_SECRET_KEY: tokens need a key of their own")
DEBUG = False
ALLOWED_HOSTS: list[str] = env.read("SHOP_ALLOWED_HOSTS")
BEHIND_PROXY: bool = env.read("SHOP_TRUSTED_PROXY")
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = False  # TLS ends at the proxy; a redirect here would answer API clients with HTML
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_PROXY else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005", "security.W021",  # HSTS for this host only: its neighbours' TLS is not ours to promise
    "security.W008",  # no redirect to TLS, see SECURE_SSL_REDIRECT
]  # fmt: skip
# Cookies are the admin's: the API neither sets nor gets one.
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = LANGUAGE_COOKIE_PATH = "/admin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = BEHIND_PROXY
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"  # a link in a mail may lead in
SESSION_COOKIE_AGE = 8 * 3_600  # a working day
X_FRAME_OPTIONS = "DENY"
ADMIN_TOTP: str = env.read("SHOP_ADMIN_TOTP")
if ADMIN_TOTP not in ("off", "optional", "required"):
    raise env.BadEnvironment(f"SHOP_ADMIN_TOTP: {ADMIN_TOTP!r} is neither off, optional nor required")
OTP_TOTP_ISSUER = "Flash-sale shop"
AUTH_USER_MODEL = "shop.User"
LIMITS = {
    "orders": env.quota("SHOP_LIMIT_ORDERS"),
    "claims": env.quota("SHOP_LIMIT_CLAIMS"),
    "logins": env.quota("SHOP_LIMIT_LOGINS"),
    "admin-logins": env.quota("SHOP_LIMIT_ADMIN_LOGINS"),
}
PASSWORD_HASHERS = ["shop.passwords.Argon2id"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- rooms ----------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "shop.backoffice.apps.ThemeConfig",  # unfold; like the next but one, imported on the first page of the admin
    "unfold.contrib.import_export",
    "shop.backoffice.apps.BackofficeConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "import_export",
    "shop",
    "balance",
    "catalog",
    "coupons",
    "orders",
    "loadtests",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The API goes through one middleware of our own; sessions, CSRF, messages and locale exist for the admin only
# (config/wsgi.py builds one handler for each; STYLE: session + auth + CSRF + messages cost 2-3.5 empty views).
API_MIDDLEWARE = ["shop.middleware.Observe"]
MIDDLEWARE = [
    "shop.middleware.Observe",
    "django.middleware.security.SecurityMiddleware",
    "shop.backoffice.headers.ContentSecurity",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# --- language, money and time ---------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ko", "한국어")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"
SHOP_TIME_ZONE: str = env.zone("SHOP_TIME_ZONE")
SHOP_CURRENCY: str = env.read("SHOP_CURRENCY")

# --- PostgreSQL -----------------------------------------------------------------------------------------------------
# Waits are bounded for every connection (FAULTS.md 4.3). Workers may wait twice as long as a customer; commands
# (migrations, seed, audit, reports) run as long as they need but never sit on a lock.
TIMEOUTS_MS = {
    "web": {"lock_timeout": 1_000, "statement_timeout": 3_000, "idle_in_transaction_session_timeout": 5_000},
    "worker": {"lock_timeout": 2_000, "statement_timeout": 6_000, "idle_in_transaction_session_timeout": 10_000},
    "metrics": {"lock_timeout": 1_000, "statement_timeout": 2_000, "idle_in_transaction_session_timeout": 5_000},
    "command": {"lock_timeout": 5_000},
}
_timeouts: dict[str, int | str] = dict(TIMEOUTS_MS.get(PART, TIMEOUTS_MS["command"]))
# The same from our side, for a server that is frozen and cannot end a statement itself (docs/decisions/0012).
DATABASE_CALL_SECONDS = {"web": 4.0, "worker": 7.0, "metrics": 3.0}.get(PART)
TRANSACTION_TIMEOUT_MS = {"web": 8_000, "worker": 16_000}.get(PART, 0)  # set after connecting: PostgreSQL 17 and later
# Of a web process's threads two stay outside the database, for what needs none (FAULTS.md 4.3).
_threads: int = env.count("SHOP_WEB_THREADS")
DATABASE_PLACES = max(_threads - 2, (_threads + 1) // 2) if PART == "web" else 1_000
DATABASE_URLS, DATABASE_ROLE = env.database_urls(), env.database_role(PART)
DATABASE_URL = DATABASE_URLS[DATABASE_ROLE]
if DATABASE_ROLE == "reader":
    _timeouts = _timeouts | {"default_transaction_read_only": "on"}
# Without an address the name says so: commands that need no database run, the others explain (shop.commands).
DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL or "postgres://127.0.0.1:1/no-shop-is-running")}
DATABASES["default"] |= {
    "ENGINE": "shop.postgresql",
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        "application_name": f"shop-{PART}",
        "connect_timeout": 2,
        "keepalives_idle": 5,
        "tcp_user_timeout": 2_000,
        "prepare_threshold": 0,  # of statements that ask for it: shop.db.rows
        "options": " ".join(f"-c {name}={value}" for name, value in _timeouts.items()),
    },
}
BATCH_SIZE: int = env.count("SHOP_BATCH_SIZE")
FAILPOINTS: str = env.failpoints()

# --- Redis: broker, gate and cache in databases of their own (a cache flush must not empty the gate) -----------------


def redis_database(offset: int) -> str:
    """Return REDIS_URL with its database number raised by `offset`."""
    parts = urlsplit(REDIS_URL)
    return urlunsplit(parts._replace(path=f"/{int(parts.path.strip('/') or 0) + offset}"))


REDIS_URL = env.service("REDIS_URL") or "redis://127.0.0.1:1/0"
BROKER_URL, GATE_URL, CACHE_URL = redis_database(0), redis_database(1), redis_database(2)
SCRATCH_REDIS_URL = redis_database(8)  # benchmarks; clear of the three above
REDIS_TIMEOUT_SECONDS = 0.3  # what a request may wait for Redis (FAULTS.md P12)
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": CACHE_URL,
        "OPTIONS": {"SOCKET_TIMEOUT": REDIS_TIMEOUT_SECONDS, "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_SECONDS},
    }
}

# --- Celery: messages are wake-ups, the truth is in PostgreSQL (FAULTS.md 4.1, 4.2) ----------------------------------
CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_PUBLISH_RETRY = False
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = 10, 20
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_DB_REUSE_MAX = 1_000
_publisher = {"max_retries": 0, "socket_timeout": 0.3, "socket_connect_timeout": 0.3, "socket_keepalive": True}
_consumer = {"socket_timeout": 5, "socket_connect_timeout": 2, "health_check_interval": 10, "socket_keepalive": True}
CELERY_BROKER_TRANSPORT_OPTIONS = _consumer if PART == "worker" else _publisher

# --- DRF and its schema ---------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "shop.openapi.ShopSchema",
    "UNAUTHENTICATED_USER": None,
}
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_KEY,
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "UPDATE_LAST_LOGIN": False,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Flash-sale shop",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": (
        "Money is an integer in the currency's minor unit, time is RFC 3339 in UTC. HEAD answers wherever GET does, "
        "OPTIONS names the methods of an address; another method gives 405 `method_not_allowed`, an unknown address "
        "404 `not_found`. Every refusal is `application/problem+json` with a stable `code`, see `/docs/problems`."
    ),
    "SERVERS": [{"url": "/"}],
}

# --- seeing ---------------------------------------------------------------------------------------------------------
LOGGING_CONFIG = None  # shop.logs sets structlog and the standard library up together
LOG_LEVEL: str = env.read("SHOP_LOG_LEVEL")
METRICS_DIR: str = env.read("SHOP_METRICS_DIR")
METRICS_PORT: int = env.read("SHOP_METRICS_PORT")
WEB_SERVER: str = env.read("SHOP_WEB_SERVER")
if WEB_SERVER not in ("gunicorn", "granian"):
    raise env.BadEnvironment(f"SHOP_WEB_SERVER: {WEB_SERVER!r} is neither gunicorn nor granian")
ADMISSION: bool = env.read("SHOP_ADMISSION")
K6: str = env.read("SHOP_K6")
WEB_PROCESSES: int = env.count("SHOP_WEB_PROCESSES")
WEB_THREADS: int = env.count("SHOP_WEB_THREADS")

# --- the admin ------------------------------------------------------------------------------------------------------
FORMAT_MODULE_PATH = ["config.formats"]  # seconds matter to operators, and a date must not change with the language
IMPORT_EXPORT_ESCAPE_FORMULAE_ON_EXPORT = True
UNFOLD = {
    "SITE_TITLE": _("Flash-sale shop"),
    "SITE_HEADER": _("Flash-sale shop"),
    "SITE_SYMBOL": "storefront",
    "SITE_URL": "/docs",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "shop.backoffice.navigation.favicon_address"}],
    "SHOW_LANGUAGES": True,
    "SHOW_VIEW_ON_SITE": False,
    "LANGUAGES": {"action": "shop.backoffice.navigation.language_address"},
    "DASHBOARD_CALLBACK": "shop.backoffice.overview.with_cards",
    "ENVIRONMENT": "shop.backoffice.navigation.environment_badge",
    "ACCOUNT": {"navigation": "shop.backoffice.navigation.account_links"},
    "SIDEBAR": {"navigation": "shop.backoffice.navigation.sidebar"},
}
