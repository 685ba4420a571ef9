"""The `privacy:` section: which columns are about people, and what of them may be kept.

Add a way to treat a column here and in `capture.privacy`. Keep keys out: a section names the variable that holds one.
"""

from collections.abc import Callable
from pathlib import Path

from monitoring_pipeline.capture.privacy import PiiKey
from monitoring_pipeline.capture.privacy import Privacy as Protection
from monitoring_pipeline.errors import Problem, SettingsError
from monitoring_pipeline.settings.channels import Variable
from monitoring_pipeline.settings.conditions import Section
from monitoring_pipeline.settings.sections import Count

Secret = Callable[[str], str | None]


class Privacy(Section):
    """Personal data: columns to `hash` or to `drop` before anything is stored, and categories that are not shown.

    Hashed values are HMAC-SHA256 under the key in the variable `key_env`, or in the file that `<key_env>_FILE` names;
    the same value has the same hash, so ids still join. `redact_categories` names categorical columns whose values stay
    in the log, for models to learn from, and are digests in samples, profiles and reports. Of segments and groups of
    fewer than `min_group` rows no number is shown.
    """

    hash: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    redact_categories: tuple[str, ...] = ()
    key_env: Variable = "MONITORING_PII_KEY"
    min_group: Count = 1

    def protection(self, secret: Secret, *, model: str) -> Protection:
        """Return what becomes of rows; `secret` gives the values of environment variables.

        Raises SettingsError where values are to be hashed and there is no key: they are never kept unhashed instead.
        """
        if not (self.hash or self.redact_categories):
            return Protection(dropped=self.drop)
        try:
            key = PiiKey(self._key(secret))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            fix = f"Put a key into {self.key_env}, or the path of a file with one into {self.key_env}_FILE."
            where = f"privacy of {model}, {self.key_env}"
            raise SettingsError([Problem("environment", None, where, f"{why}.", fix)]) from None
        return Protection(key, self.hash, self.drop, self.redact_categories)

    def _key(self, secret: Secret) -> bytes:
        if given := secret(self.key_env):
            return given.strip().encode()
        if file := secret(f"{self.key_env}_FILE"):
            return Path(file).read_bytes().strip()
        raise ValueError("is not set, and columns are to be hashed")
