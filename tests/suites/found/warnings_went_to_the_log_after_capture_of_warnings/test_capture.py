import logging
import warnings


def test_captures():
    logging.captureWarnings(True)
    warnings.warn("to the log", UserWarning)


def test_after():
    warnings.warn("recorded", UserWarning)


def test_with_a_property(record_xml_attribute):
    record_xml_attribute("name", "value")
    logging.captureWarnings(False)


def test_last():
    warnings.warn("recorded too", UserWarning)
