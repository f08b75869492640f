import xml.dom.minidom

from django.contrib.syndication.views import Feed
from django.utils import feedgenerator


def build():
    feed = feedgenerator.Rss201rev2Feed("t", "http://localhost/", "d")
    return feed.writeString("utf-8")


def pretty(text):
    return xml.dom.minidom.parseString(text).toprettyxml()


def is_feed(view):
    return isinstance(view, Feed)
