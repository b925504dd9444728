"""Two windows on one library: what one of them says of its own acts, and leaves of the other's."""

from __future__ import annotations

import pytest

from facecluster.service import Service


@pytest.fixture
def other(demo_library) -> Service:
    """The library in another window."""
    return demo_library


def test_the_news_and_its_undo_are_of_ones_own_change_where_another_follows_at_once(app, other, texts, monkeypatch):
    anna, ben = (card.id for card in other.view().people()[:2])
    page = app("person", id=anna)
    confirm = Service.confirm

    def and_another_window_writes(self, *args):
        made = confirm(self, *args)
        other.rename(ben, "Ben")
        return made

    monkeypatch.setattr(Service, "confirm", and_another_window_writes)
    page.button(key="confirm-all").click().run()
    assert "Confirmed " in texts(page)
    assert "“Ben”" not in texts(page)
    page.button(key="fc-news-undo").click().run()
    assert other.view().person(ben).name == "Ben"
    assert other.view().card_of[anna].n_confirmed == 0
