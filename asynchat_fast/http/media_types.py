"""Media types by the suffix of a file name: a table of our own, so that they are the same on every system.

Sources: the registry of media types at IANA; RFC 9239 (JavaScript), RFC 7303 (XML), WHATWG MIME Sniffing.
"""

__all__ = ["media_type"]

_UNKNOWN = "application/octet-stream"  # the type of files with an unknown suffix

# These types get no charset: a document may name its own, which a charset in the head of a response would override.
_TYPES = {
    "application/atom+xml": "atom",
    "application/epub+zip": "epub",
    "application/gzip": "gz tgz",
    "application/java-archive": "jar",
    "application/json": "json map",
    "application/ld+json": "jsonld",
    "application/geo+json": "geojson",
    "application/jsonl": "jsonl ndjson",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc",
    "application/ogg": "ogx",
    "application/pdf": "pdf",
    "application/postscript": "ai eps ps",
    "application/rss+xml": "rss",
    "application/rtf": "rtf",
    "application/sql": "sql",
    "application/toml": "toml",
    "application/vnd.android.package-archive": "apk",
    "application/vnd.apple.mpegurl": "m3u8",
    "application/vnd.debian.binary-package": "deb",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-fontobject": "eot",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2 tbz2",
    "application/x-compress": "z",
    "application/x-rar-compressed": "rar",
    "application/x-rpm": "rpm",
    "application/x-sh": "sh",
    "application/x-tar": "tar",
    "application/x-xz": "xz txz",
    "application/xhtml+xml": "xhtml xht",
    "application/xml": "xml xsd xsl",
    "application/xml-dtd": "dtd",
    "application/xslt+xml": "xslt",
    "application/yaml": "yaml yml",
    "application/zip": "zip whl",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/matroska": "mka",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a m4b",
    "audio/mpeg": "mp3 mp2",
    "audio/ogg": "oga ogg opus spx",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "audio/x-aiff": "aif aiff",
    "font/collection": "ttc",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jpeg": "jpg jpeg jpe jfif",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg svgz",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "message/rfc822": "eml",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/obj": "obj",
    "model/stl": "stl",
    "text/html": "html htm shtml",
    "video/matroska": "mkv",
    "video/mp2t": "ts m2ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpeg mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-msvideo": "avi",
}

# Types of text that cannot name their own encoding.
_UTF_8_TYPES = {
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/javascript": "js mjs cjs",
    "text/markdown": "md markdown",
    "text/plain": "txt text log asc c cc cfg conf cpp diff h hpp ini java patch rs rst tex go",
    "text/tab-separated-values": "tsv",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    "text/x-python": "py pyi",
}


def _by_suffix() -> dict[str, str]:
    types = {f".{suffix}": kind for kind, suffixes in _TYPES.items() for suffix in suffixes.split()}
    for kind, suffixes in _UTF_8_TYPES.items():
        types.update((f".{suffix}", f"{kind}; charset=utf-8") for suffix in suffixes.split())
    return types


_type_of = _by_suffix().get


def media_type(suffix: str) -> str:
    """Return the Content-Type (str) for file names that end in *suffix* (str), in lower case with its dot, or empty."""
    return _type_of(suffix, _UNKNOWN)
