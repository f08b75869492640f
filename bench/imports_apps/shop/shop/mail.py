import email.message
import smtplib


def letter(to, text):
    message = email.message.EmailMessage()
    message["To"] = to
    message.set_content(text)
    return message


def send(message):
    with smtplib.SMTP("localhost") as server:
        server.send_message(message)
