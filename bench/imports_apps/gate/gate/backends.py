import ssl

import boto3
import httpx


def client():
    return httpx.Client(verify=ssl.create_default_context())


def secret(name):
    return boto3.client("secretsmanager").get_secret_value(SecretId=name)
