"""What is for sale. Stock lives in a narrow row of its own, so that selling never rewrites a product's text."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

HIGHEST_PRICE = 1_000_000_000  # minor units; 50 lines of 1,000 pieces still fit a 64-bit total
MOVEMENTS_BITS = 15  # movements by product stand in runs of 2 ** 15, a megabyte of index each


class Product(models.Model):
    """A thing on offer; a hidden one does not exist for customers. `popularity` is refreshed every ten minutes."""

    sku = models.CharField(_("SKU"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), blank=True, default="")
    category = models.CharField(_("category"), max_length=60)
    price = models.BigIntegerField(_("price"))
    image_url = models.CharField(_("image URL"), max_length=300, blank=True, default="")
    is_hidden = models.BooleanField(_("hidden"), default=False)
    popularity = models.BigIntegerField(_("popularity"), default=0, editable=False)
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0, price__lte=HIGHEST_PRICE), name="product_price_in_range"),
            models.CheckConstraint(condition=Q(popularity__gte=0), name="product_popularity_not_negative"),
        ]
        indexes = [
            models.Index("price", "id", name="product_by_price"),
            models.Index("popularity", "id", name="product_by_popularity"),
            models.Index("category", "id", name="product_by_category"),
            models.Index("id", name="product_hidden", condition=Q(is_hidden=True)),  # few: lock_stock asks for them
            GinIndex(OpClass("name", name="gin_trgm_ops"), name="product_by_name"),
        ]

    def __str__(self) -> str:
        return self.name


class Stock(models.Model):
    """Pieces of one product that an order may still take: the sum of its movements (invariant S1), never negative."""

    product = models.OneToOneField(Product, models.PROTECT, primary_key=True, verbose_name=_("product"))
    available = models.BigIntegerField(_("available"), default=0)

    class Meta:
        verbose_name = _("stock")
        verbose_name_plural = _("stock")
        constraints = [models.CheckConstraint(condition=Q(available__gte=0), name="stock_available_not_negative")]

    def __str__(self) -> str:
        return gettext("stock of product %(product)s") % {"product": self.product_id}


class MovementKind(models.TextChoices):
    RESTOCK = "restock", _("restock")
    RESERVE = "reserve", _("reserve")
    RELEASE = "release", _("release")


class StockMovement(models.Model):
    """One change of a stock row, written once and never changed (a trigger refuses it); one per effect and line."""

    product = models.ForeignKey(  # no foreign key in the database: docs/decisions/0009
        Product,
        models.PROTECT,
        related_name="movements",
        db_index=False,
        db_constraint=False,
        verbose_name=_("product"),
    )
    kind = models.CharField(_("kind"), max_length=8, choices=MovementKind)
    delta = models.BigIntegerField(_("delta"))
    order_id = models.BigIntegerField(_("order id"), null=True)
    reason = models.CharField(_("reason"), max_length=200, blank=True, default="")
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("stock movement")
        verbose_name_plural = _("stock movements")
        constraints = [
            models.UniqueConstraint(
                "order_id", "product", "kind", condition=Q(order_id__isnull=False), name="movement_once_per_effect"
            ),
            models.CheckConstraint(
                condition=Q(kind="restock", order_id__isnull=True) & ~Q(delta=0)
                | Q(kind="reserve", delta__lt=0, order_id__isnull=False)
                | Q(kind="release", delta__gt=0, order_id__isnull=False),
                name="movement_sign_follows_kind",
            ),
        ]
        # New entries lie together, whatever the product: docs/decisions/0018.
        indexes = [models.Index(F("id").bitrightshift(MOVEMENTS_BITS), "product", name="movement_by_product")]

    def __str__(self) -> str:
        said = {"kind": self.get_kind_display(), "delta": self.delta, "product": self.product_id}
        return gettext("%(kind)s %(delta)s of product %(product)s") % said


class DailySales(models.Model):
    """Units and revenue of one product in orders paid on one day of the shop's calendar and not cancelled since."""

    date = models.DateField(_("date"))
    product = models.ForeignKey(  # no foreign key in the database: docs/decisions/0009
        Product, models.PROTECT, related_name="+", db_index=False, db_constraint=False, verbose_name=_("product")
    )
    units = models.BigIntegerField(_("units"))
    revenue = models.BigIntegerField(_("revenue"))

    class Meta:
        verbose_name = _("daily sales")
        verbose_name_plural = _("daily sales")
        constraints = [
            models.UniqueConstraint("date", "product", name="daily_sales_once_per_product"),
            models.CheckConstraint(condition=Q(units__gte=0, revenue__gte=0), name="daily_sales_not_negative"),
        ]

    def __str__(self) -> str:
        return gettext("%(date)s product %(product)s") % {"date": self.date, "product": self.product_id}
