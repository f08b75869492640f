def test_shown_in_a_failure(record_xml_attribute, record_testsuite_property):
    assert False
