from sfu.arrivals_pure import Arrivals as Arrivals
