from sfu.inlet_pure import Inlet as Inlet
