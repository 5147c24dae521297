"""The yardstick of `make bench`: dlt's declarative REST source with its defaults, over the same server. Prints the rows."""

import os
import sys

import dlt
from dlt.sources.rest_api import rest_api_source

PROPERTIES = ("dealname,pipeline,dealstage,amount,deal_currency_code,amount_in_home_currency,closedate,hs_deal_stage_probability,"
              "hs_is_closed_won,hs_is_closed,hubspot_owner_id,dealtype,hs_lastmodifieddate")

source = rest_api_source({
    "client": {"base_url": f"{os.environ['CROSSFOOT_SANDBOX_URL']}/hubspot/", "auth": {"type": "bearer", "token": "sandbox-hubspot-token"}},
    "resources": [{"name": "deals", "endpoint": {
        "path": "crm/objects/2026-09/deals", "params": {"limit": 100, "properties": PROPERTIES}, "data_selector": "results",
        "paginator": {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"}}}],
})
home = sys.argv[1]
pipeline = dlt.pipeline("plain", destination=dlt.destinations.duckdb(f"{home}.duckdb"), dataset_name="raw", pipelines_dir=home)
pipeline.run(source)
with pipeline.sql_client() as client:
    print(client.execute_sql("SELECT count(*) FROM deals")[0][0])
