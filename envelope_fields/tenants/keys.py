"""The `key=` of a field whose values are under a key of their tenant."""

from contextlib import suppress
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import FieldError
from django.utils.deconstruct import deconstructible

from envelope_fields.fields.keys import RowKey
from envelope_fields.lifecycle import AliasTaken, create_master_key, find_master_key, on_demand
from envelope_fields.models import KeyManager, MasterKey
from envelope_fields.policy import APPLICATION
from envelope_fields.policy.authorization import check_serves_fields
from envelope_fields.policy.data import KeyPolicy
from envelope_fields.tenants.aliases import AliasTemplate, tenant_column, tenant_value


@deconstructible(path="envelope_fields.tenants.TenantKey")
class TenantKey(RowKey):
    """The `key=` of a field whose values are under a key of their tenant.

    Use the same one for every field with data of the tenant. The alias names the tenant by a
    column that never changes, best the primary key: another alias is another key.

    Args:
        template: the aliases, with the name of a column in braces: `clinic/{clinic_id}`. The name
            may go through foreign keys: `clinic/{ward__clinic_id}`. Lower-case letters, digits
            and `_ . -` stand in an alias as they are, other bytes of UTF-8 as `:` and two digits.
        managed_by: whose the keys are. Keys of the application serve all who have access to it; a
            customer's serve the application, and the grantees of its grants.
        rotation_period: of the keys that are made, in days; None rotates them on demand only.

    Raises:
        ValueError: it is not such a template, or there is no such manager of keys.
    """

    def __init__(
        self,
        template: str,
        *,
        managed_by: str = KeyManager.APPLICATION,
        rotation_period: int | None = None,
    ) -> None:
        self.template = AliasTemplate(template)
        self.managed_by = KeyManager(managed_by)
        self.rotation_period = rotation_period

    def names(self, alias: str) -> bool:
        """Whether this is the alias of some tenant's key."""
        return self.template.matches(alias)

    def __call__(self, instance: Any) -> str:
        """Return the alias of the key of a row's tenant.

        Raises:
            FieldError: the row does not say whose it is, or has no alias.
        """
        if instance is None:
            raise FieldError(f"{self!r} takes the tenant from the row, and there is none.")
        values = {name: tenant_value(instance, name) for name in self.template.names}
        try:
            return self.template.alias(values)
        except (TypeError, ValueError) as error:
            raise FieldError(f"{instance._meta.label} has no key of a tenant: {error}.") from None

    def alias(self, **values: Any) -> str:
        """Return the alias of a tenant's key, as in `alias(clinic_id=7)`.

        Args:
            **values: what the columns of the template hold, by their names there.

        Raises:
            TypeError: other names than those of the template, or no integer, text or UUID.
            ValueError: a value is empty, or the alias too long.
        """
        if set(values) != set(self.template.names):
            raise TypeError(f"{self!r} needs {', '.join(self.template.names)}, by name.")
        return self.template.alias(values)

    def create(self, **values: Any) -> MasterKey:
        """Make the key of a tenant before it is needed; where it is there, return it.

        Args:
            **values: as for `alias`.

        Raises:
            TypeError, ValueError: as for `alias`.
            MasterKeyUnusable: the key that has the alias does not serve fields, because a user
                made it, or is managed otherwise.
            ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
        """
        alias = self.alias(**values)
        with suppress(AliasTaken):
            return create_master_key(alias, actor=APPLICATION, **self._attributes)
        there = find_master_key(alias)
        policy = KeyPolicy(there.managed_by, there.application_use, there.serves_fields)
        check_serves_fields(policy, alias, self.managed_by)
        return there

    def make(self, alias: str, using: str) -> None:
        on_demand.make(alias, using, **self._attributes)

    def check(self, field: Any) -> list[CheckMessage]:
        """Return what keeps the rows of a field's model from saying whose they are."""
        problems: list[CheckMessage] = []
        for name in self.template.names:
            try:
                tenant_column(field.model, name)
            except FieldError as error:
                problems.append(
                    Error(
                        f"'key' names tenants by {name!r}. {error}",
                        hint=(
                            "Write the name of a column of the model in braces, as in "
                            "TenantKey('clinic/{clinic_id}'); '__' goes through a foreign key."
                        ),
                        obj=field,
                        id="envelope_fields.E016",
                    )
                )
        return problems

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TenantKey):
            return NotImplemented
        return self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"TenantKey({self.template.text!r})"

    @property
    def _identity(self) -> tuple[Any, ...]:
        return type(self), self.template, *self._attributes.values()

    @property
    def _attributes(self) -> dict[str, Any]:
        return {"managed_by": self.managed_by, "rotation_period": self.rotation_period}
