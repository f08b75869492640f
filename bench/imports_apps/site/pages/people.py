from django.contrib.auth import forms, tokens
from django.contrib.auth.models import User
from django.core import mail


def form(data):
    return forms.UserCreationForm(data)


def invite(user):
    return mail.EmailMessage("hello", tokens.default_token_generator.make_token(user))


def people():
    return User.objects.all()
