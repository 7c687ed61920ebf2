import math

import pytest

from digitocr import settings
from digitocr.errors import SettingsError
from digitocr.settings import Settings
from digitocr.types import FieldType


def load(folder, text=None, environment=None, **given):
    if text is not None:
        (folder / "digitocr.toml").write_text(text, encoding="utf-8")
    return settings.load(folder, environment or {}, **given)


def test_without_file_and_environment_the_defaults_stand(tmp_path):
    assert load(tmp_path) == Settings()


def test_the_command_line_goes_before_the_environment_before_the_file(tmp_path):
    text = 'workers = 2\nmodel = "file"\ndatabase = "file"'
    environment = {"DIGITOCR_WORKERS": "3", "DIGITOCR_MODEL": "environment"}
    found = load(tmp_path, text, environment, workers=4)
    assert (found.workers, found.model, found.database) == (4, "environment", "file")


def test_what_the_command_line_does_not_say_changes_nothing(tmp_path):
    assert load(tmp_path, "workers = 2", workers=None).workers == 2


def test_variables_of_other_programs_are_no_settings(tmp_path):
    assert load(tmp_path, environment={"DIGITO": "1", "HOME": "/", "MYDIGITOCR_X": "2"}) == (
        Settings()
    )


def test_the_file_of_the_working_folder_and_the_real_environment_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digitocr.toml").write_text("workers = 5", encoding="utf-8")
    monkeypatch.setenv("DIGITOCR_ACCEPT_FIELD", "0.5")
    found = settings.load()
    assert (found.workers, found.accept_field) == (5, 0.5)


def test_settings_do_not_change(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path).workers = 3


@pytest.mark.parametrize(
    ("text", "environment", "given", "parts"),
    [
        ("wrokers = 2", {}, {}, ("digitocr.toml: wrokers", "workers")),
        ("", {"DIGITOCR_FORM": "x"}, {}, ("DIGITOCR_FORM", "forms")),
        ("", {}, {"speed": 1}, ("--speed", "no such setting")),
        ("workers = -1", {}, {}, ("digitocr.toml: workers = -1", "greater")),
        ('workers = "two"', {}, {}, ("digitocr.toml: workers = 'two'", "integer")),
        ("accept_digit = 1.01", {}, {}, ("digitocr.toml: accept_digit = 1.01", "less")),
        ("accept_digit = nan", {}, {}, ("digitocr.toml: accept_digit = nan",)),
        ("accept_field = nan", {}, {}, ("digitocr.toml: accept_field = nan",)),
        ("target_error = 1", {}, {}, ("digitocr.toml: target_error = 1:", "less than 1")),
        ("", {"DIGITOCR_TARGET_ERROR": "half"}, {}, ("TARGET_ERROR = 'half'", "number")),
        ("[target_error]\ncode = -0.1", {}, {}, ("target_error = {'code': -0.1}", "greater")),
        ("[target_error]\ncodes = 0.1", {}, {}, ("target_error = {'codes'", "'code'")),
        ("max_residual_mm = 0", {}, {}, ("digitocr.toml: max_residual_mm = 0", "greater")),
        ("max_residual_mm = inf", {}, {}, ("digitocr.toml: max_residual_mm = inf", "finite")),
        ("", {"DIGITOCR_MAX_MEGAPIXELS": "0"}, {}, ("DIGITOCR_MAX_MEGAPIXELS = '0'",)),
        ("", {"DIGITOCR_PDF_RENDERER": "acrobat"}, {}, ("DIGITOCR_PDF_RENDERER", "poppler")),
        ("", {}, {"workers": 1000}, ("--workers = 1000",)),
        ("workers =", {}, {}, ("digitocr.toml", "Invalid value", "mend")),
        ("[reader]\nworkers = 1", {}, {}, ("digitocr.toml: reader", "no such setting")),
    ],
)
def test_a_wrong_setting_is_named_with_where_it_stands(
    tmp_path, text, environment, given, parts
):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, text, environment, **given)
    assert all(part in str(error.value) for part in parts), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("", {}, [0.0, 0.0, 0.0, 0.0]),
        ("target_error = 0.01", {}, [0.01] * 4),
        ("target_error = 0.01", {"DIGITOCR_TARGET_ERROR": "0.005"}, [0.005] * 4),
        ("[target_error]\ncode = 0.001\ninteger = 0.01", {}, [0.01, 0.0, 0.001, 0.0]),
        ("[target_error]\ncode = 0.001", {"DIGITOCR_TARGET_ERROR": "0"}, [0.0] * 4),
    ],
)
def test_a_target_is_set_for_all_types_or_for_each(tmp_path, text, environment, expected):
    found = load(tmp_path, text, environment)
    assert [found.target_of(type) for type in FieldType] == expected


def test_a_file_that_is_not_utf8_is_refused_by_name(tmp_path):
    (tmp_path / "digitocr.toml").write_bytes(b'forms = "\xff"')
    with pytest.raises(SettingsError, match=r"digitocr\.toml.*mend or remove"):
        load(tmp_path)


def test_the_defaults_are_careful():
    found = Settings()
    assert found.accept_digit > 0.9 and found.accept_field > 0.9
    assert math.isfinite(found.max_residual_mm)
