"""Metering: usage to money. Knows nothing of chat, media or databases.

1. `counters.Counters` adds up facts by meter (`meters`), subject (`events.Subject`) and window
   (`windows`), `message_tally.MessageTallies` those of messages, which are the most; `drain` gives
   the cumulative totals that changed, as `events.UsageRow`.
2. `ledger.Ledger.upsert` keeps the greatest total of every row's identity, together with the
   checkpoint of the reader that brought it.
3. `report.build_report` adds up a month, prices it with the book in force (`pricebook`, `rating`)
   and makes the statement; `visit.cost_of` does the same for one user.
4. `statement_document` puts it into words as a `document.Document`, the one model that
   `document_text`, `document_html`, `document_xlsx` and `document_pdf` write; `report_csv` and
   `report_focus` write its raw figures.
5. `periods` closes a month for good, and books what was wrong with it in a later one.
6. `budget.Budget` holds it against what the contract allows.

**A row may come late, twice, or in another order, and a process may die anywhere: the sums are the
same.** Quantities are whole messages, seconds and bytes; money is `Decimal` and is rounded in one
place.
"""
