"""Each model twice: with fields of Django, and with encrypted ones."""

from types import SimpleNamespace

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MinLengthValidator
from django.db import models
from django.db.models import CheckConstraint, F, GeneratedField, Q, UniqueConstraint
from django.db.models.lookups import IsNull

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Grade(models.TextChoices):
    GOOD = "g", "Good"
    BAD = "b", "Bad"


def _twins(kind, text, json):
    prefix = kind.lower()

    def model(name, /, *bases, **attributes):
        attributes["__module__"] = __name__
        made = type(f"{kind}{name}", bases or (models.Model,), attributes)
        globals()[made.__name__] = made  # where pickle looks for it
        return made

    def meta(**options):
        return type("Meta", (), {"app_label": "tests", **options})

    topic = model(
        "Topic",
        name=models.CharField(max_length=20, unique=True),
        number=models.IntegerField(default=0),
        double=GeneratedField(
            expression=F("number") + F("number"),
            output_field=models.IntegerField(),
            db_persist=True,
        ),
        text=text(blank=True, verbose_name="some text", help_text="any"),
        maybe=text(null=True, blank=True),
        short=text(max_length=5, blank=True, validators=[MinLengthValidator(2)]),
        grade=text(choices=Grade.choices, default=Grade.GOOD),
        data=json(default=dict, blank=True),
        maybe_data=json(null=True, blank=True, encoder=DjangoJSONEncoder),
        Meta=meta(
            constraints=[
                CheckConstraint(
                    condition=Q(maybe__isnull=False) | Q(number__lt=100),
                    name=f"{prefix}_large",
                ),
                CheckConstraint(
                    condition=IsNull(F("maybe_data"), True) | Q(number__gte=0),
                    name=f"{prefix}_data",
                ),
                UniqueConstraint(
                    fields=["number"],
                    condition=Q(maybe__isnull=False),
                    name=f"{prefix}_number",
                ),
            ]
        ),
    )
    reply = model(
        "Reply",
        topic=models.ForeignKey(topic, models.CASCADE, related_name="replies"),
        by_name=models.ForeignKey(
            topic, models.CASCADE, to_field="name", null=True, related_name="replies_by_name"
        ),
        text=text(default="said nothing"),
        Meta=meta(order_with_respect_to="topic"),
    )
    tag = model("Tag", label=text(), topics=models.ManyToManyField(topic, through=f"{kind}Tagged"))
    tagged = model(
        "Tagged",
        topic=models.ForeignKey(topic, models.CASCADE),
        tag=models.ForeignKey(tag, models.CASCADE),
        why=text(),
    )
    base = model("Base", name=models.CharField(max_length=20), secret=text(default="of the base"))
    derived = model("Derived", base, extra=json(default=list))
    deepest = model("Deepest", derived, deep=text(null=True))
    return SimpleNamespace(
        topic=topic,
        reply=reply,
        tag=tag,
        tagged=tagged,
        base=base,
        derived=derived,
        deepest=deepest,
    )


PLAIN = _twins("Plain", models.TextField, models.JSONField)
ENCRYPTED = _twins("Encrypted", EncryptedTextField, EncryptedJSONField)
