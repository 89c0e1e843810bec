"""The admin's addresses; importing this module imports every admin module."""

from django.contrib import admin

admin.autodiscover()
urlpatterns = admin.site.get_urls()
