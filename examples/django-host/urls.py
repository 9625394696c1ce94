"""Where the views of our site are."""

from django.urls import path

from accounts import views

urlpatterns = [
    path("users", views.sign_up),
    path("phone", views.change_phone),
    path("phone/verify", views.verify_phone),
]
