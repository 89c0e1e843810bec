"""PostgreSQL's roles and their rights, as after every migration."""

from shop import roles
from shop.commands import CommandFailed, ShopCommand


class Command(ShopCommand):
    help = (
        "Makes the roles named in DATABASE_URL and SHOP_READER_DATABASE_URL if they are missing and gives each its"
        " rights; `migrate` does the same at its end. Safe to repeat."
    )
    examples = "  python manage.py grant_roles"

    def run(self, **_: object) -> None:
        try:
            names = roles.grant_configured()
        except roles.CannotGrant as error:
            raise CommandFailed(str(error)) from error
        if names:
            self.stdout.write(f"rights given to {' and '.join(names)}")
        else:
            self.stdout.write("one role does everything: SHOP_OWNER_DATABASE_URL would name an owner of its own")
