from __future__ import annotations
import functools, io
from PIL import Image
from django_eprospera.sandbox.personas import Persona
def _jpeg(image):
    out = io.BytesIO(); image.save(out, "JPEG"); return out.getvalue()
def portrait(persona): return _jpeg(Image.new("RGB", (400, 400), "teal"))
def id_image(persona, side): return _jpeg(Image.new("RGB", (1012, 638), "teal"))
