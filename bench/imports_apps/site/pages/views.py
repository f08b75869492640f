from django.http import HttpResponse, JsonResponse
from django.template import engines

from pages import feeds, imports


def index(request):
    return HttpResponse(engines["django"].from_string("{{ x }}").render({"x": 1}))


def data(request):
    return JsonResponse({"rows": len(imports.rows("a,b"))})


def feed(request):
    return HttpResponse(feeds.build())
