import time
from support import traces
def test_a(complete, cvl):
    t=time.time(); d=cvl("verify-layout"); print(time.time()-t); assert d.code==0, d
    t=time.time(); d=cvl("fetch","all"); print(time.time()-t, d.stderr, d.stdout); assert d.code==0
    t=time.time(); d=cvl.typed("cvl status"); print(time.time()-t,d.stdout); assert d.code==0
def test_b(complete, cvl, internet):
    t=time.time(); d=cvl("status"); print(time.time()-t); assert d.code==0
    print(internet.exchanges)
