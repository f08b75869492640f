import ftplib
import urllib.request

import boto3


def from_bucket(name):
    return boto3.resource("s3").Bucket(name)


def from_web(url):
    return urllib.request.urlopen(url)


def from_ftp(host):
    return ftplib.FTP(host)
