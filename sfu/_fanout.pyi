from sfu.fanout_pure import Departures as Departures
from sfu.fanout_pure import Flow as Flow
from sfu.fanout_pure import Route as Route
from sfu.fanout_pure import TransportNumbers as TransportNumbers
from sfu.fanout_pure import forward as forward
