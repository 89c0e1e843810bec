"""The groups operators belong to: who sees what, and who may do what moves money, stock or an offer."""

from typing import Any

from django.db import migrations

SEEN = {
    "admin": ["logentry"],
    "auth": ["group"],
    "balance": ["account", "transfer", "wallet"],
    "catalog": ["dailysales", "product", "stock", "stockmovement"],
    "coupons": ["campaign", "issuance"],
    "orders": ["order", "orderhistory", "orderline"],
    "shop": ["idempotencyrecord", "operatoraction", "parkeditem", "stagerun", "user"],
}
EVERYTHING_SEEN = [f"{app}.view_{model}" for app, models in SEEN.items() for model in models]
GOODS_SEEN = [f"{app}.view_{model}" for app in ("catalog", "coupons") for model in SEEN[app]]
GROUPS = {
    "Viewer": EVERYTHING_SEEN,
    # cancels orders, disables customers and gives them new passwords, retries what is parked
    "Support": [*EVERYTHING_SEEN, "orders.change_order", "shop.change_user", "shop.change_parkeditem"],
    # products, stock and campaigns; no customers, no money
    "Merchandiser": [
        *GOODS_SEEN,
        *("catalog.add_product", "catalog.change_product", "catalog.change_stock"),
        *("coupons.add_campaign", "coupons.change_campaign"),
    ],
    # adjusts and charges wallets
    "Finance": [*EVERYTHING_SEEN, "balance.change_wallet"],
}


def make_groups(apps: Any, schema_editor: Any) -> None:
    """Make the groups that are not there; what operators have changed in one since stays as they made it."""
    Group = apps.get_model("auth", "Group")
    for name, wanted in GROUPS.items():
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            group.permissions.set([permission(apps, full_name) for full_name in wanted])


def permission(apps: Any, full_name: str) -> Any:
    """Return a permission; Django makes them after all migrations, so here it may not be there yet."""
    app_label, codename = full_name.split(".")
    action, model = codename.split("_")
    content_type, _is_new = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label=app_label, model=model
    )
    name = f"Can {action} {apps.get_model(app_label, model)._meta.verbose_name}"
    found, _is_new = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type, codename=codename, defaults={"name": name}
    )
    return found


class Migration(migrations.Migration):
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("balance", "0002_ledger"),
        ("catalog", "0002_append_only"),
        ("coupons", "0003_gate_version"),
        ("orders", "0001_initial"),
        ("shop", "0005_operator_action"),
    ]
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
