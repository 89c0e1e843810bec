"""The kernel's tables: who acts, which answers are remembered, which work was set aside."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """
    A customer or an operator. Names are stored NFKC-normalised and are unique without regard to case.

    `token_generation` is copied into every token; raising it ends them all. A trigger raises it with each new password,
    when the user is disabled and when staff rights are taken away, whoever does it by whatever means; it notes when in
    `sessions_ended_at`, which `shop.revocations` reads.
    """

    token_generation = models.PositiveIntegerField(_("token generation"), default=0, editable=False)
    sessions_ended_at = models.DateTimeField(_("sessions ended at"), null=True, editable=False)

    class Meta(AbstractUser.Meta):
        constraints = [models.UniqueConstraint(Lower("username"), name="user_username_taken")]
        indexes = [
            models.Index("sessions_ended_at", condition=Q(sessions_ended_at__isnull=False), name="user_sessions_ended")
        ]

    def __str__(self) -> str:
        return self.username


class IdempotencyRecord(models.Model):
    """
    The first answer to one keyed request; scope is user and route (API.md "Idempotency-Key").

    `status` 0 means that the work began and its answer is not known yet (only for work outside a transaction).
    """

    user_id = models.BigIntegerField(_("user id"))
    route = models.CharField(_("route"), max_length=64)
    key = models.CharField(_("key"), max_length=255)
    fingerprint = models.BinaryField(_("fingerprint"), max_length=32)
    status = models.PositiveSmallIntegerField(_("status"), default=0)
    answer = models.JSONField(_("answer"), default=dict)
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("idempotency record")
        verbose_name_plural = _("idempotency records")
        constraints = [models.UniqueConstraint("user_id", "route", "key", name="idempotency_key_once")]
        indexes = [models.Index("created_at", name="idempotency_age")]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"


class StageRun(models.Model):
    """
    What a pipeline stage was doing when it last began a batch; a row left uncleared is a process that died in it.

    `size` is the batch size to try next; `crashes` counts processes lost at this size (FAULTS.md 4.1). `owner` is the
    process ("host:pid"): one that lives lost its database, not its life.
    """

    stage = models.CharField(_("stage"), max_length=64, primary_key=True)
    is_running = models.BooleanField(_("is running"), default=False)
    size = models.PositiveIntegerField(_("size"))
    crashes = models.PositiveSmallIntegerField(_("crashes"), default=0)
    began_at = models.DateTimeField(_("began at"))
    owner = models.CharField(_("process"), max_length=100, blank=True, default="")

    class Meta:
        verbose_name = _("stage run")
        verbose_name_plural = _("stage runs")

    def __str__(self) -> str:
        return self.stage


class ParkedItem(models.Model):
    """
    An item that failed alone and was set aside so that it never stops the line.

    It is tried again after `parked_until`; once that is empty it waits for a person (admin action "retry").
    """

    stage = models.CharField(_("stage"), max_length=64)
    item_id = models.BigIntegerField(_("item id"))
    attempts = models.PositiveSmallIntegerField(_("attempts"))
    last_error = models.TextField(_("last error"))
    parked_until = models.DateTimeField(_("parked until"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated at"))

    class Meta:
        verbose_name = _("parked item")
        verbose_name_plural = _("parked items")
        constraints = [models.UniqueConstraint("stage", "item_id", name="parked_item_once_per_stage")]

    def __str__(self) -> str:
        return f"{self.stage} {self.item_id}"


class OperatorAction(models.Model):
    """
    What an operator did, once, for ever (a trigger refuses changes); written by `shop.trail` beside the effect.

    No foreign keys, as on all append-only tables (docs/decisions/0009); the name is the one of that moment.
    """

    operator_id = models.BigIntegerField(_("operator id"))
    operator_name = models.CharField(_("operator"), max_length=150)
    action = models.CharField(_("action"), max_length=64)
    object_type = models.CharField(_("kind of object"), max_length=64)
    object_id = models.BigIntegerField(_("object id"))
    amount = models.BigIntegerField(_("amount"), null=True)
    reason = models.CharField(_("reason"), max_length=200)
    details = models.JSONField(_("details"), default=dict)
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("operator action")
        verbose_name_plural = _("operator actions")
        constraints = [models.CheckConstraint(condition=~Q(reason=""), name="operator_action_has_reason")]
        indexes = [
            models.Index("operator_id", "id", name="operator_action_operator"),
            models.Index("object_type", "object_id", name="operator_action_object"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"
