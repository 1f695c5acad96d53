import time, os, signal
from support import traces
from cvl.demo.faults import Fault, FaultKind
def test_stall(cvl, internet):
    internet.inject(Fault("*train2017.zip", FaultKind.STALL, after=1000, times=5))
    p = cvl.start("fetch", "coco")
    while internet.body_bytes("*train2017*") < 1000: time.sleep(0.01)
    t=time.time(); p.send_signal(signal.SIGINT)
    out = p.communicate(timeout=100); print(time.time()-t, p.returncode, out)
def test_mist(cvl, tree, tmp_path):
    (tmp_path/"f").write_text("x")
    (tmp_path/"m").mkdir(); (tmp_path/"m"/"x.toml").write_text("a = [")
    for args in ["", "--version", "x", "fetch", "fetch coc", "fetch coco --root f", "sources --root f", "status --root f", "verify-layout --root f","verify-layout --root f/g", "convert ocrvqa --root f", "convert coco", "convert",
      "fetch coco --from nope", "fetch sam --sam-links nope", "sources --manifests nope", "sources --manifests m", "fetch coco --stage 7", "fetch coco --jobs 0", "fetch coco --shards 0-5", "fetch coco --shards a", "fetch coco --mirror z","fetch coco --alternative z", "fetch ocrvqa --alternative z", "demo m", "demo f", "sources a b", "status extra", "verify-layout --stage 9", "verify-layout --stage x", "convert ocrvqa --jobs 0", "demo --record f/x.svg d", "fetch coco --retries 0", "convert all","fetch ocrvqa --alternative gqa=urls", "fetch coco --accept", "sources --json x"]:
        try: d = cvl(*args.split())
        except AssertionError as e: print("TRACE", args, str(e)[-600:]); continue
        print("==", args, d.code, "| out:", d.stdout[:200], "| err:", d.stderr)
